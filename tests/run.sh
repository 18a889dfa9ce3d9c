#!/usr/bin/env bash
# Runs every test: units, models, goldens, the API server, and real packets in namespaces and in virtual machines.
#
# A failed stage does not stop the next one; a summary of all stages ends the run. Everything is built once, with the
# profile that virtual machines need (docs/decisions/0046-one-build-for-all-tests.md).
set -euo pipefail
cd "$(dirname "$0")/.."

bash tests/setup.sh
target="${CARGO_TARGET_DIR:-$PWD/target}"
# Kernel tests run this binary. Cargo builds it for the integration tests of its package.
export PORTOLAN_BIN="$target/guest/portolan"
workspace=(--locked --workspace)

summary=() failed=0
stage() {
    local name=$1 began=$SECONDS result=passed
    shift
    "$@" || { result=FAILED failed=1; }
    summary+=("$(printf '%-18s %-8s %5d s' "$name" "$result" $((SECONDS - began)))")
}

stage build cargo test "${workspace[@]}" --profile guest --no-run
if cargo nextest --version >/dev/null 2>&1; then
    # Tests with real packets wait half of their time.
    stage tests cargo nextest run "${workspace[@]}" --cargo-profile guest -E 'not package(portolan-tests-vm)' \
        --test-threads "$(($(nproc) + 1))"
    stage 'doc tests' cargo test "${workspace[@]}" --profile guest --doc
else
    # Kernel tests share two cores: a few at a time.
    stage tests cargo test "${workspace[@]}" --profile guest --no-fail-fast --exclude portolan-tests-vm -- --test-threads=4
fi
# Last, because an emulated machine takes a core, and packets between namespaces get lost where no core is left for them.
stage 'virtual machines' env PORTOLAN_VM_SELECTION=--workspace bash tests/vm/test.sh

printf '\n%s\n' 'Summary of all stages:' "${summary[@]}"
exit "$failed"

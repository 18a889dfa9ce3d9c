#!/usr/bin/env bash
# Runs every test: units, models, goldens, the API server, and real packets in namespaces and in virtual machines.
#
# A stage that fails does not keep the next from running; a summary of all stages ends the run.
set -euo pipefail
cd "$(dirname "$0")/.."

bash tests/setup.sh
target="${CARGO_TARGET_DIR:-$PWD/target}"
# The kernel tests run this very binary.
export PORTOLAN_BIN="$target/debug/portolan"
others=(--locked --workspace --exclude portolan-tests-vm)

summary=() failed=0
stage() {
    local name=$1 began=$SECONDS result=passed
    shift
    "$@" || { result=FAILED failed=1; }
    summary+=("$(printf '%-18s %-8s %5d s' "$name" "$result" $((SECONDS - began)))")
}

stage build cargo build --locked -p portolan
if cargo nextest --version >/dev/null 2>&1; then
    stage tests cargo nextest run "${others[@]}"
    stage 'doc tests' cargo test --locked --workspace --doc
else
    # Kernel tests share two cores: a few at a time.
    stage tests cargo test --no-fail-fast "${others[@]}" -- --test-threads=4
fi
# An emulated machine takes a core to itself, and packets between namespaces get lost where none is left for them: so
# these come last.
stage 'virtual machines' bash tests/vm/test.sh

printf '\n%s\n' 'Summary of all stages:' "${summary[@]}"
exit "$failed"

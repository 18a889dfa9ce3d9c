#!/usr/bin/env bash
# Runs the tests in virtual machines, and prints which scenarios held in which mode on which kernel.
#
#   tests/vm/test.sh                     all
#   tests/vm/test.sh matrix::ipvs        those whose names have this in them
#
# PORTOLAN_SCENARIOS names the scenarios that are played, if not those that kernels differ in: tests/vm/matrix.sh.
#
# What runs in guests is built for them, with the profile of that name.
set -euo pipefail
cd "$(dirname "$0")/../.."

target="${CARGO_TARGET_DIR:-$PWD/target}"
guest=(--locked --profile guest) options=() exact=()
# Guests run this binary, and test executables of other packages. The messages of cargo name their paths.
packages=(portolan portolan-ipvs portolan-iptables portolan-backend-{iptables,ipvs,userspace} portolan-tests-{netns,vm})
selection=("${packages[@]/#/--package=}")
# Features of dependencies depend on the selected packages: after a build of the whole workspace, another selection
# would build all of them again.
[ -z "${PORTOLAN_VM_SELECTION:-}" ] || selection=("$PORTOLAN_VM_SELECTION")
export PORTOLAN_BIN="$target/guest/portolan" PORTOLAN_TESTS="$target/guest/tests.json"
mkdir -p "$target/guest"
# `--test whole` belongs to the binary's package: cargo builds the binary for it.
targets=(--lib --test kernel --test stale --test whole --test guests)
cargo test "${guest[@]}" "${selection[@]}" "${targets[@]}" --no-run --message-format=json-render-diagnostics >"$PORTOLAN_TESTS"

# All scenarios take longer than a test may. Test names are those of whole cells then.
[ -z "${PORTOLAN_SCENARIOS+set}" ] || options=(--profile matrix --test-threads "${GUESTS:-1}") exact=(--exact)
rows="$target/vm/rows"
rm -rf "$rows"
failed=0
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --cargo-profile guest "${selection[@]}" "${targets[@]}" -E 'package(portolan-tests-vm)' "${options[@]}" -- "${exact[@]}" "$@" || failed=$?
else
    cargo test "${guest[@]}" -p portolan-tests-vm -- --test-threads="${GUESTS:-2}" "${exact[@]}" "$@" || failed=$?
fi
if [ -d "$rows" ]; then
    printf '\n%-10s %-10s %-12s %8s %8s\n' kernel mode passed 'left out' seconds
    cat "$rows"/*.row
fi
exit "$failed"

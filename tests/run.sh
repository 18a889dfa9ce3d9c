#!/usr/bin/env bash
# Runs every test: units, models, goldens, the API server, and real packets in namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."

bash tests/setup.sh
# The kernel tests run this very binary.
cargo build --locked -p portolan
target="${CARGO_TARGET_DIR:-$PWD/target}"
export PORTOLAN_BIN="$target/debug/portolan"
# Virtual machines run test executables of other packages; what cargo prints tells where those are.
export PORTOLAN_TESTS="$target/tests.json"
cargo test --locked --workspace --no-run --message-format=json-render-diagnostics >"$PORTOLAN_TESTS"

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --workspace -E 'not package(portolan-tests-vm)'
    # An emulated machine takes a core to itself, and packets between namespaces get lost where none is left for them.
    cargo nextest run --locked --workspace -E 'package(portolan-tests-vm)'
    cargo test --locked --workspace --doc
else
    # Kernel tests share two cores: a few at a time.
    cargo test --locked --workspace -- --test-threads=4
fi

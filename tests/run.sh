#!/usr/bin/env bash
# Runs every test: units, models, goldens, the API server, and real packets in namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."

bash tests/setup.sh
# The kernel tests run this very binary.
cargo build --locked -p portolan
target="${CARGO_TARGET_DIR:-$PWD/target}"
export PORTOLAN_BIN="$target/debug/portolan"
others=(--locked --workspace --exclude portolan-tests-vm)
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run "${others[@]}"
    cargo test --locked --workspace --doc
else
    # Kernel tests share two cores: a few at a time.
    cargo test "${others[@]}" -- --test-threads=4
fi
# An emulated machine takes a core to itself, and packets between namespaces get lost where none is left for them: so
# these come last.
bash tests/vm/test.sh

#!/usr/bin/env bash
# Runs every test: units, models, goldens, the API server, and real packets in namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."

bash tests/setup.sh
# The kernel tests run this very binary.
cargo build --locked -p portolan
export PORTOLAN_BIN="${CARGO_TARGET_DIR:-$PWD/target}/debug/portolan"

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --workspace
    cargo test --locked --workspace --doc
else
    # Kernel tests share two cores: a few at a time.
    cargo test --locked --workspace -- --test-threads=4
fi

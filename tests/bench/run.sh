#!/usr/bin/env bash
# Builds and runs the benchmarks in a network namespace of their own. Arguments are passed on:
# --quick leaves out what takes long, --connect all but the set-up of connections, --json FILE writes the
# figures there as well.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash tests/setup.sh
cargo build --locked --release -p portolan-tests-bench
# The API server of some scenarios is on loopback.
exec unshare --net sh -c 'ip link set lo up && exec "$@"' sh \
    "${CARGO_TARGET_DIR:-$PWD/target}/release/portolan-bench" "$@"

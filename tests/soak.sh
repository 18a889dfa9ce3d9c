#!/usr/bin/env bash
# Random objects, faults of the API server, restarts and edits by others, for so many minutes in each mode.
#
#   tests/soak.sh 10             every mode, two at a time
#   tests/soak.sh 60 nftables    one mode
#
# A failure prints its seed; PORTOLAN_SEED repeats it.
set -euo pipefail
cd "$(dirname "$0")/.."

export PORTOLAN_SOAK_MINUTES="$1"
bash tests/setup.sh
cargo build --locked --release -p portolan
export PORTOLAN_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/portolan"
exec cargo test --locked -p portolan-tests-netns --lib -- "soak::${2:-}" --nocapture --test-threads=2

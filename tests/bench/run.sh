#!/usr/bin/env bash
# Builds the proxy and the benchmarks, and runs these in namespaces of their own. Arguments are passed on:
# --help tells which there are.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash tests/setup.sh
cargo build --locked --release -p portolan -p portolan-tests-bench
# As the image and the systemd unit in deploy/ set it.
export MALLOC_TRIM_THRESHOLD_=131072
# Names of network namespaces are files below /run, which is this run's own; processes that it leaves behind end
# with it.
exec unshare --net --mount --pid --fork --kill-child --mount-proc sh -c \
    'mount -t tmpfs portolan-bench /run && ip link set lo up && exec "$@"' sh \
    "${CARGO_TARGET_DIR:-$PWD/target}/release/portolan-bench" "$@"

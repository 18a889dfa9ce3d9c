#!/usr/bin/env bash
# Prints how long each package takes from a change in its sources to the result of its tests: seconds by the clock, and
# seconds of processor time, which other load changes little.
#
#   tests/quick-loop.sh                      every crate and the binary
#   tests/quick-loop.sh portolan-core        only these
set -euo pipefail
cd "$(dirname "$0")/.."

export PORTOLAN_BIN="${CARGO_TARGET_DIR:-$PWD/target}/debug/portolan"
# Name and folder of each package that is not only for tests.
packages=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    folder = os.path.relpath(os.path.dirname(package["manifest_path"]))
    if not folder.startswith("tests"): print(package["name"], folder)')
printf '%-30s %8s %10s\n' package clock processor
while read -r package folder; do
    [ $# -eq 0 ] || [[ " $* " == *" $package "* ]] || continue
    cargo nextest run --locked -p "$package" --no-run >/dev/null 2>&1
    touch "$folder/src/lib.rs"
    result='' TIMEFORMAT='%R %U %S'
    times=$({ time cargo nextest run --locked -p "$package" >/dev/null 2>&1 </dev/null; } 2>&1) || result=FAILED
    read -r clock user system <<<"$times"
    printf '%-30s %6.0f s %8.0f s  %s\n' "$package" "$clock" "$(python3 -c "print($user + $system)")" "$result"
done <<<"$packages"

#!/usr/bin/env bash
# Plays the scenario table in every mode on every kernel, and prints how many scenarios passed where.
#
#   tests/vm/matrix.sh                                   all of it: more than an hour of two cores
#   tests/vm/matrix.sh ranges hairpin::a_pod             scenarios whose names begin so
#   KERNELS=trixie MODES=ipvs tests/vm/matrix.sh         one kernel, one mode: a job of CI
#   GUESTS=2 tests/vm/matrix.sh                          two machines at a time, each of which takes a core
#
# Fails if a scenario does. What a mode does not do is left out by its tests, and counted. What each machine printed
# stays in vm/rows of cargo's target folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests=()
for kernel in ${KERNELS:-bullseye bookworm trixie}; do
    case $kernel in
    bullseye) version=5_10 ;;
    bookworm) version=6_1 ;;
    trixie) version=6_12 ;;
    *) echo "there is no kernel $kernel" >&2 && exit 2 ;;
    esac
    for mode in ${MODES:-nftables iptables ipvs}; do
        tests+=("matrix::${mode}_holds_on_linux_$version")
    done
done
PORTOLAN_SCENARIOS="$*" exec bash tests/vm/test.sh "${tests[@]}"

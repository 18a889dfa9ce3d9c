#!/usr/bin/env bash
# Plays the scenario table in every mode on every kernel, and prints how many scenarios passed where.
#
#   tests/vm/matrix.sh                          all of it: hours on two emulated processors
#   tests/vm/matrix.sh ranges hairpin           some groups of scenarios
#   KERNELS=trixie MODES=ipvs tests/vm/matrix.sh     one kernel, one mode: a job of CI
#
# Fails if a scenario does. What is known to be different in a mode is left out by its tests, which count it.
set -uo pipefail
cd "$(dirname "$0")/../.."

kernels=(${KERNELS:-bullseye bookworm trixie})
modes=(${MODES:-nftables iptables ipvs})
groups=("${@:-}")

# Which tests play the table in a mode: a package and what of it.
tests_of() {
    case $1 in
    nftables) echo portolan-tests-netns --lib ;;
    iptables) echo portolan-backend-iptables --test kernel ;;
    ipvs) echo portolan-backend-ipvs --test kernel ;;
    *) echo "there is no mode $1" >&2 && return 1 ;;
    esac
}

failed=0
table=$(printf '%-10s %-10s %8s %8s' kernel mode passed failed)
for kernel in "${kernels[@]}"; do
    for mode in "${modes[@]}"; do
        read -ra tests <<<"$(tests_of "$mode")" || exit 2
        log=$(mktemp)
        # The kit's tests begin with its name; a mode that has several kinds has them before the group.
        names=()
        for group in "${groups[@]}"; do
            case $mode in
            iptables) names+=("conformance::nft::$group") ;;
            *) names+=("conformance::$group") ;;
            esac
        done
        bash tests/vm/run.sh "$kernel" "${tests[@]}" -- --test-threads=1 "${names[@]}" | tee "$log"
        passed=$(grep -cE '^test conformance::.* ok$' "$log")
        wrong=$(grep -cE '^test conformance::.* FAILED$' "$log")
        # A guest that did not get to the end has not passed, whatever it said before.
        grep -q '^test result: ' "$log" || wrong=all
        [ "$wrong" = 0 ] || failed=1
        table+=$'\n'$(printf '%-10s %-10s %8s %8s' "$kernel" "$mode" "$passed" "$wrong")
        rm -f "$log"
    done
done
printf '\n%s\n' "$table"
exit "$failed"

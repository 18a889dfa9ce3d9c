#!/usr/bin/env bash
# Shows Portolan at work: real packets from a client and a pod to Services, and a change under traffic.
#
# Everything happens in network, mount and process namespaces that end with this script, however it ends,
# so nothing on this machine is touched. Exits with 1 when a request failed or an endpoint never answered.
#
#   PORTOLAN_BIN=...   use this binary instead of building one
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
examples=$root/deploy/examples/demo
requests=30

# shellcheck source=tests/demo/network.sh
source "$here/network.sh"

die() { echo "demo: $*" >&2; exit 1; }
heading() {
    if [[ -t 1 ]]; then printf '\n\e[1m%s\e[0m\n' "$*"; else printf '\n== %s\n' "$*"; fi
}

problems=()
problem() { problems+=("$*"); echo "  !! $*"; }

# --- outside: tools, binary, and a second start of this script inside namespaces ---------------------

build_binary() {
    [[ -z ${PORTOLAN_BIN:-} ]] || return 0
    command -v cargo > /dev/null || die "no cargo: install Rust 1.89 or newer, or name a binary in PORTOLAN_BIN"
    heading "Building the release binary"
    cargo build --quiet --release -p portolan
    PORTOLAN_BIN=${CARGO_TARGET_DIR:-target}/release/portolan
}

enter_namespaces() {
    local user=()
    ((EUID == 0)) || user=(--user --map-root-user)
    exec unshare "${user[@]}" --net --mount --pid --fork --kill-child --mount-proc \
        bash "${BASH_SOURCE[0]}" --inside
}

# --- inside -----------------------------------------------------------------------------------------

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    # All has been said by now; the shell would go on to report every process that ends here.
    exec 2> /dev/null
    jobs -p | xargs -r kill -KILL || true
    wait || true
    for name in $(ip netns list | cut -d' ' -f1); do ip netns delete "$name" || true; done
    exit "$status"
}

start_pods() {
    local number
    for number in 1 2 3; do
        start_in "pod$number" "$python" "$here/pod_server.py" "pod$number" 8080 &
    done
    for number in 1 2 3; do
        wait_for "pod$number serves" in_ns node curl -sf -o /dev/null "http://10.244.0.1$number:8080"
    done
}

# Tries a command until it works, for at most ten seconds. $1 names what is waited for.
wait_for() {
    local what=$1 deadline=$((SECONDS + 10))
    shift
    until "$@" 2> /dev/null; do
        [[ -z ${proxy:-} ]] || kill -0 "$proxy" 2> /dev/null || give_up "portolan ended before this: $what"
        ((SECONDS < deadline)) || give_up "waited ten seconds for this: $what"
        sleep 0.01
    done
}

give_up() {
    [[ ! -e $work/portolan.log ]] || tail -n 20 "$work/portolan.log" >&2
    die "$*"
}

metrics() { in_ns node curl -sf --max-time 2 http://127.0.0.1:10249/metrics; }

both_families_synced() {
    (($(metrics | grep -c '^kubeproxy_sync_proxy_rules_last_timestamp_seconds{.*} [1-9]') == 2))
}

start_proxy() {
    local start=$EPOCHREALTIME
    start_in node "$PORTOLAN_BIN" --manifests "$work/manifests" --mode nftables --hostname-override node1 \
        --cluster-cidr 10.244.0.0/16,fd00:10:244::/64 --nodeport-addresses 0.0.0.0/0,::/0 \
        --metrics-bind-address 127.0.0.1:10249 --healthz-bind-address 127.0.0.1:10256 -v 2 \
        > "$work/portolan.log" 2>&1 &
    proxy=$!
    wait_for "portolan has synced both families" both_families_synced
    echo "portolan runs in the node; both families synced $(milliseconds "$start" "$EPOCHREALTIME") ms after the start"
}

# From $1 to $2, and none when that is the wrong way round.
milliseconds() {
    LC_ALL=C awk -v from="$1" -v to="$2" 'BEGIN { printf "%.0f", (to > from) ? (to - from) * 1000 : 0 }'
}

# Puts a manifest in place as one step, so that the proxy never reads half of it.
install_manifest() { cp "$1" "$work/draft" && mv "$work/draft" "$work/manifests/${1##*/}"; }

table_head() { printf '  %-7s %-11s %-31s %5s %5s %5s %7s\n' from service address pod1 pod2 pod3 failed; }

# Sends the requests of one row and counts who answered.
# $1 namespace; $2 what it asks, in words; $3 the address; then the pods that have to answer.
ask() {
    local from=$1 what=$2 address=$3 answers pod counts=() answered=0 expected
    shift 3
    answers=$(in_ns "$from" curl -s --max-time 2 "http://$address/[1-$requests]" || true)
    for pod in pod1 pod2 pod3; do counts+=("$(grep -c "^$pod " <<< "$answers" || true)"); done
    answered=$((counts[0] + counts[1] + counts[2]))
    printf '  %-7s %-11s %-31s %5d %5d %5d %7d\n' "$from" "$what" "$address" "${counts[@]}" $((requests - answered))
    ((answered == requests)) || problem "$((requests - answered)) of $requests requests from $from to $address failed"
    for pod in pod1 pod2 pod3; do
        expected=no
        [[ " $* " != *" $pod "* ]] || expected=yes
        case $expected:${counts[${pod#pod} - 1]} in
            yes:0) problem "$pod never answered $from at $address" ;;
            no:[1-9]*) problem "$pod answered $from at $address and should not have" ;;
        esac
    done
}

# Asks the web Service on all its addresses. The arguments are the pods behind it.
ask_web() {
    local from
    for from in client pod3; do
        ask "$from" ClusterIP "10.96.0.80" "$@"
        ask "$from" ClusterIP "[fd00:10:96::50]" "$@"
        ask "$from" NodePort "192.0.2.1:30080" "$@"
        ask "$from" NodePort "[2001:db8:2::1]:30080" "$@"
    done
}

start_traffic() {
    start_in client "$python" "$here/traffic.py" http://10.96.0.80/ > "$work/traffic-IPv4" &
    traffic=($!)
    start_in client "$python" "$here/traffic.py" "http://[fd00:10:96::50]/" > "$work/traffic-IPv6" &
    traffic+=($!)
    for family in IPv4 IPv6; do
        wait_for "$family traffic flows" grep -q '^first pod2' "$work/traffic-$family"
    done
    sleep 1
}

# Ends the background traffic and says what it saw. $1 is the time of the change.
report_traffic() {
    local family total failed came gone
    sleep 1
    kill -TERM "${traffic[@]}"
    wait "${traffic[@]}" || true
    for family in IPv4 IPv6; do
        total=$(awk '$1 == "total" { print $2 }' "$work/traffic-$family")
        failed=$(awk '$1 == "total" { print $4 }' "$work/traffic-$family")
        came=$(awk '$1 == "first" && $2 == "pod3" { print $3 }' "$work/traffic-$family")
        gone=$(awk '$1 == "last" && $2 == "pod1" { print $3 }' "$work/traffic-$family")
        [[ $failed ]] || { problem "the $family traffic ended without a report"; continue; }
        printf '  %s  pod3 answered first %3d ms, pod1 answered last %3d ms after the change; %5d requests, %d failed\n' \
            "$family" "$(milliseconds "$1" "$came")" "$(milliseconds "$1" "$gone")" "$total" "$failed"
        ((failed == 0)) || {
            problem "$failed $family requests failed during the change"
            grep '^failure' "$work/traffic-$family" | head -n 3
        }
    done
}

change_under_traffic() {
    local changed
    echo "requests run in the background; web loses pod1 and gains pod3, a Service named news appears"
    start_traffic
    if in_ns client curl -s -o /dev/null --max-time 0.5 http://10.96.0.100/; then
        problem "news answered before it existed"
    fi
    changed=$EPOCHREALTIME
    install_manifest "$examples/after/web.yaml"
    install_manifest "$examples/after/news.yaml"
    for family in IPv4 IPv6; do
        wait_for "pod3 answers over $family" grep -q '^first pod3' "$work/traffic-$family"
    done
    wait_for "news answers" in_ns client curl -sf -o /dev/null --max-time 0.2 http://10.96.0.100/
    wait_for "news answers over IPv6" in_ns client curl -sf -o /dev/null --max-time 0.2 "http://[fd00:10:96::64]/"
    report_traffic "$changed"
}

show_metrics() {
    metrics > "$work/metrics"
    awk '/^kubeproxy_sync_proxy_rules_duration_seconds_(sum|count)\{/ {
             split($1, part, "\""); which = ($1 ~ /_sum/) ? "sum" : "count"; value[part[2], which] = $2; seen[part[2]] }
         END { for (family in seen) printf "  %s  %d syncs, %.2f ms on average\n", family,
                   value[family, "count"], 1000 * value[family, "sum"] / value[family, "count"] }' \
        "$work/metrics" | sort
    grep -E '^kubeproxy_sync_proxy_rules_(last_timestamp_seconds|nftables_sync_failures_total|endpoint_changes_total|service_changes_total)' \
        "$work/metrics" | sed 's/^/  /'
}

verdict() {
    heading "Result"
    if ((${#problems[@]})); then
        printf '%d things are not as they should be:\n' "${#problems[@]}"
        printf '  %s\n' "${problems[@]}"
        echo "portolan's log:"
        sed 's/^/  /' "$work/portolan.log"
        exit 1
    fi
    echo "every request was answered, by every endpoint it could reach and by no other"
}

inside() {
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # Private to this script's mount namespace: names of namespaces and temporary files end with it.
    mount -t tmpfs portolan-demo /run
    work=/run/demo
    mkdir -p "$work/manifests"
    cp "$examples"/*.yaml "$work/manifests/"
    # Debian's own, where it is there: a version manager's would be slower to start.
    python=$(command -v /usr/bin/python3 || command -v python3)

    heading "A client, a node and three pods with HTTP servers"
    build_network
    start_pods
    sed -n 's/^#   /  /p' "$here/network.sh"
    start_proxy

    heading "Who answers $requests requests"
    table_head
    ask_web pod1 pod2
    ask client ClusterIP 10.96.0.90:8000 pod1 pod2 pod3
    ask client ClusterIP "[fd00:10:96::5a]:8000" pod1 pod2 pod3

    heading "A change while traffic runs"
    change_under_traffic

    heading "Who answers now"
    table_head
    ask_web pod2 pod3
    ask client ClusterIP 10.96.0.100 pod1
    ask client ClusterIP "[fd00:10:96::64]" pod1

    heading "nft list table ip portolan"
    in_ns node nft list table ip portolan || problem "nft cannot list the table"

    heading "Sync metrics"
    show_metrics || problem "the metrics page lacks the sync metrics"
    verdict
}

if [[ ${1:-} == --inside ]]; then
    inside
else
    [[ -z ${PORTOLAN_BIN:-} ]] || PORTOLAN_BIN=$(realpath -e "$PORTOLAN_BIN")
    cd "$root"
    bash tests/setup.sh
    build_binary
    export PORTOLAN_BIN
    enter_namespaces
fi

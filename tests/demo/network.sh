# The demo's network: a client, a node, three pods, and what the node's default route leads to.
# Sourced by demo.sh inside namespaces of its own; the same shape as the test kit's topology.
#
#   client 192.0.2.2 ── 192.0.2.1 node 10.244.0.1 ── pod1..pod3 10.244.0.11..13
#   2001:db8:2::2 ───── 2001:db8:2::1  fd00:10:244::1     fd00:10:244::11..13
# shellcheck shell=bash

# Runs the rest of the line inside a namespace.
in_ns() { ip netns exec "$@"; }

# The same for a background job, whose process id is then the program's own: a subshell in between would take
# the signals.
start_in() { exec ip netns exec "$@"; }

# Prepares a namespace's sysctls before it has interfaces, because new ones copy the defaults.
# Without duplicate address detection, IPv6 addresses work at once.
prepare_namespace() {
    ip netns add "$1"
    in_ns "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 \
        net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
        net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
}

# One cable from the node (interface named like the other end) to a namespace (eth0).
# $1 namespace; $2 and $3 its addresses; $4 and $5 the node's, all with prefix lengths.
connect() {
    ip link add "$1" netns node type veth peer name eth0 netns "$1"
    ip -n "$1" -batch - <<EOF
link set lo up
link set eth0 up
address add $2 dev eth0
address add $3 dev eth0 nodad
route add default via ${4%/*} dev eth0 onlink
route add ::/0 via ${5%/*} dev eth0 onlink
EOF
    ip -n node -batch - <<EOF
link set $1 up
address add $4 dev $1
address add $5 dev $1 nodad
EOF
}

build_network() {
    local name number
    for name in node client world pod1 pod2 pod3; do prepare_namespace "$name"; done
    ip -n node link set lo up
    in_ns node sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1

    connect client 192.0.2.2/24 2001:db8:2::2/64 192.0.2.1/24 2001:db8:2::1/64
    # Every node has a default route; this one leads nowhere.
    connect world 198.51.100.2/24 2001:db8:100::2/64 198.51.100.1/24 2001:db8:100::1/64
    ip -n node route add default via 198.51.100.2
    ip -n node route add ::/0 via 2001:db8:100::2

    for number in 1 2 3; do
        connect "pod$number" "10.244.0.1$number/32" "fd00:10:244::1$number/128" \
            10.244.0.1/32 fd00:10:244::1/128
        ip -n node route add "10.244.0.1$number/32" dev "pod$number"
        ip -n node route add "fd00:10:244::1$number/128" dev "pod$number"
    done
}

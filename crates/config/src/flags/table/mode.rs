//! Flags of modes.

use super::{Flag, flag, kept};
use crate::kube_proxy::defaults;

/// How it forwards.
pub(super) static FLAGS: [Flag; 16] = [
    Flag {
        alias: Some("mode"),
        ..flag(
            "proxy-mode",
            |b| &mut b.config.mode,
            "how to forward packets: nftables, iptables, ipvs, userspace, or auto for the best that this host can do (default: that, with iptables' settings)",
        )
    },
    kept(
        "mode-fallback",
        |b| &mut b.mode_fallback,
        "run another mode when that one cannot run here; false: exit instead",
    ),
    flag("feature-gates", |b| &mut b.config.feature_gates, "switch features"),
    flag(
        "iptables-sync-period",
        |b| &mut b.sync_period,
        "longest time between attempts while the rules cannot be updated, and time between looks at whether they are there still; in all modes but ipvs",
    ),
    flag(
        "iptables-min-sync-period",
        |b| &mut b.min_sync_period,
        "shortest time between two updates of the rules; in all modes but ipvs",
    ),
    flag(
        "iptables-masquerade-bit",
        |b| b.config.iptables.masquerade_bit.get_or_insert(defaults::MASQUERADE_BIT),
        "packet mark bit that asks for masquerading, from 0 to 31; in modes iptables and ipvs and when none is given",
    ),
    flag(
        "iptables-localhost-nodeports",
        |b| b.config.iptables.localhost_node_ports.get_or_insert(defaults::LOCALHOST_NODE_PORTS),
        "node ports answer on 127.0.0.0/8 too; in mode iptables",
    ),
    flag(
        "masquerade-all",
        |b| &mut b.masquerade_all,
        "give all traffic to cluster IPs this node's source address",
    ),
    flag("ipvs-sync-period", |b| &mut b.ipvs_sync_period, "as --iptables-sync-period, in mode ipvs"),
    flag(
        "ipvs-min-sync-period",
        |b| &mut b.ipvs_min_sync_period,
        "as --iptables-min-sync-period, in mode ipvs",
    ),
    flag("ipvs-scheduler", |b| &mut b.config.ipvs.scheduler, "how ipvs picks an endpoint (default: rr)"),
    flag(
        "ipvs-exclude-cidrs",
        |b| &mut b.config.ipvs.exclude_cidrs,
        "ranges in which mode ipvs removes no virtual servers of others",
    ),
    flag(
        "ipvs-strict-arp",
        |b| &mut b.config.ipvs.strict_arp,
        "answer ARP for an address on its own interface alone; in mode ipvs",
    ),
    flag(
        "ipvs-tcp-timeout",
        |b| &mut b.config.ipvs.tcp_timeout,
        "idle time of an ipvs TCP connection; 0 leaves it alone",
    ),
    flag(
        "ipvs-tcpfin-timeout",
        |b| &mut b.config.ipvs.tcp_fin_timeout,
        "idle time of an ipvs TCP connection after a FIN; 0 leaves it alone",
    ),
    flag(
        "ipvs-udp-timeout",
        |b| &mut b.config.ipvs.udp_timeout,
        "idle time of an ipvs UDP flow; 0 leaves it alone",
    ),
];

/// How it forwards in userspace mode. Two had kube-proxy while it had that mode.
pub(super) static USERSPACE: [Flag; 6] = [
    flag(
        "userspace-addresses",
        |b| &mut b.config.userspace.addresses,
        "made: service addresses are made this node's, which takes CAP_NET_ADMIN; prepared: somebody has done so; in mode userspace",
    ),
    flag(
        "userspace-max-sessions",
        |b| &mut b.config.userspace.max_sessions,
        "TCP connections and UDP clients at a time; 0 for as many as there are file descriptors for; in mode userspace",
    ),
    flag(
        "userspace-max-sessions-per-service",
        |b| &mut b.config.userspace.max_sessions_per_service,
        "those of one Service; 0 for as many as leave some to others; in mode userspace",
    ),
    flag(
        "udp-timeout",
        |b| &mut b.config.userspace.udp_timeout,
        "idle time of a UDP client; in mode userspace",
    ),
    flag(
        "userspace-udp-single-timeout",
        |b| &mut b.config.userspace.udp_single_timeout,
        "idle time of a UDP client that has sent a single datagram, if that is shorter; in mode userspace",
    ),
    flag(
        "proxy-port-range",
        |b| &mut b.config.port_range,
        "accepted; no ports are taken but those of Services",
    ),
];

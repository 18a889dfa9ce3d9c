//! Modes and their sections.

use super::*;

pub(super) const ROWS: [Row; 23] = [
    row(
        "mode",
        "\"\"",
        "mode: nftables",
        Sets(|c| c.mode == ModeSelection::Explicit(ProxyMode::NFTABLES)),
        (
            "mode: kernelspace",
            "Mode.ProxyMode: Invalid value: \"kernelspace\": must be auto, iptables, ipvs, mine, nftables, userspace or blank (blank means the best that this host can do)",
        ),
    ),
    row(
        "iptables.masqueradeBit",
        "14",
        "iptables: {masqueradeBit: 5}",
        Sets(|c| c.node().masquerade_mark == 1 << 5),
        (
            "iptables: {masqueradeBit: -1}",
            "KubeProxyIPTablesConfiguration.MasqueradeBit: Invalid value: -1: must be within the range [0, 31]",
        ),
    ),
    row(
        "iptables.masqueradeAll",
        "false",
        "iptables: {masqueradeAll: true}",
        Sets(|c| c.node().masquerade_all),
        ("iptables: {masqueradeAll: 1}", "iptables.masqueradeAll: found integer `1`, want a boolean"),
    ),
    row(
        "iptables.localhostNodePorts",
        "true",
        "iptables: {localhostNodePorts: false}",
        Sets(|c| !c.iptables.localhost_node_ports),
        (
            "iptables: {localhostNodePorts: 1}",
            "iptables.localhostNodePorts: found integer `1`, want a boolean",
        ),
    ),
    row(
        "iptables.syncPeriod",
        "\"30s\"",
        "iptables: {syncPeriod: 1m}",
        Sets(|c| c.sync.max.as_secs() == 60),
        (
            "iptables: {syncPeriod: -1s}",
            "[KubeProxyConfiguration.SyncPeriod: Invalid value: -1s: must be greater than 0, KubeProxyConfiguration.SyncPeriod: Invalid value: 0s: must be greater than or equal to KubeProxyConfiguration.MinSyncPeriod]",
        ),
    ),
    row(
        "iptables.minSyncPeriod",
        "\"0s\"",
        "iptables: {minSyncPeriod: 2s}",
        Sets(|c| c.sync.min.as_secs() == 2),
        (
            "iptables: {minSyncPeriod: 31s}",
            "SyncPeriod: Invalid value: 31s: must be greater than or equal to KubeProxyConfiguration.MinSyncPeriod",
        ),
    ),
    row(
        "ipvs.syncPeriod",
        "\"30s\"",
        "ipvs: {syncPeriod: 1m}\nmode: ipvs",
        Sets(|c| c.sync.max.as_secs() == 60),
        ("ipvs: {syncPeriod: 5}", "ipvs.syncPeriod: found integer `5`, want a duration"),
    ),
    row(
        "ipvs.minSyncPeriod",
        "\"0s\"",
        "ipvs: {minSyncPeriod: 2s}\nmode: ipvs",
        Sets(|c| c.sync.min.as_secs() == 2),
        ("ipvs: {minSyncPeriod: 5}", "ipvs.minSyncPeriod: found integer `5`, want a duration"),
    ),
    row(
        "ipvs.scheduler",
        "\"\"",
        "ipvs: {scheduler: lc}\nmode: ipvs",
        Sets(|c| c.ipvs.scheduler == "lc"),
        ("ipvs: {scheduler: 5}", "ipvs.scheduler: found integer `5`, want a string"),
    ),
    row(
        "ipvs.excludeCIDRs",
        "null",
        "ipvs: {excludeCIDRs: [10.0.0.0/8]}\nmode: ipvs",
        Sets(|c| c.ipvs.exclude_cidrs == ["10.0.0.0/8".parse().unwrap()]),
        (
            "ipvs: {excludeCIDRs: [x]}\nmode: ipvs",
            "KubeProxyIPVSConfiguration.ExcludeCidrs[0]: Invalid value: \"x\": must be a valid CIDR",
        ),
    ),
    row(
        "ipvs.strictARP",
        "false",
        "ipvs: {strictARP: true}\nmode: ipvs",
        Sets(|c| c.ipvs.strict_arp),
        ("ipvs: {strictARP: 1}", "ipvs.strictARP: found integer `1`, want a boolean"),
    ),
    row(
        "ipvs.tcpTimeout",
        "\"0s\"",
        "ipvs: {tcpTimeout: 1m}\nmode: ipvs",
        Sets(|c| c.ipvs.tcp_timeout.as_secs() == 60),
        (
            "ipvs: {tcpTimeout: -1s}\nmode: ipvs",
            "KubeProxyIPVSConfiguration.TCPTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "ipvs.tcpFinTimeout",
        "\"0s\"",
        "ipvs: {tcpFinTimeout: 1m}\nmode: ipvs",
        Sets(|c| c.ipvs.tcp_fin_timeout.as_secs() == 60),
        (
            "ipvs: {tcpFinTimeout: -1s}\nmode: ipvs",
            "KubeProxyIPVSConfiguration.TCPFinTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "ipvs.udpTimeout",
        "\"0s\"",
        "ipvs: {udpTimeout: 1m}\nmode: ipvs",
        Sets(|c| c.ipvs.udp_timeout.as_secs() == 60),
        (
            "ipvs: {udpTimeout: -1s}\nmode: ipvs",
            "KubeProxyIPVSConfiguration.UDPTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "nftables.masqueradeBit",
        "14",
        "nftables: {masqueradeBit: 5}\nmode: nftables",
        Sets(|c| c.node().masquerade_mark == 1 << 5),
        (
            "nftables: {masqueradeBit: 32}\nmode: nftables",
            "KubeProxyNFTablesConfiguration.MasqueradeBit: Invalid value: 32: must be within the range [0, 31]",
        ),
    ),
    row(
        "nftables.masqueradeAll",
        "false",
        "nftables: {masqueradeAll: true}\nmode: nftables",
        Sets(|c| c.node().masquerade_all),
        ("nftables: {masqueradeAll: 1}", "nftables.masqueradeAll: found integer `1`, want a boolean"),
    ),
    row(
        "nftables.syncPeriod",
        "\"30s\"",
        "nftables: {syncPeriod: 1m}\nmode: nftables",
        Sets(|c| c.sync.max.as_secs() == 60),
        ("nftables: {syncPeriod: 5}", "nftables.syncPeriod: found integer `5`, want a duration"),
    ),
    row(
        "nftables.minSyncPeriod",
        "\"0s\"",
        "nftables: {minSyncPeriod: 2s}\nmode: nftables",
        Sets(|c| c.sync.min.as_secs() == 2),
        (
            "nftables: {minSyncPeriod: -2s}\nmode: nftables",
            "MinSyncPeriod: Invalid value: -2s: must be greater than or equal to 0",
        ),
    ),
    row(
        "userspace.addresses",
        "",
        "userspace: {addresses: prepared}",
        Sets(|c| c.userspace.addresses == ServiceAddresses::Prepared),
        (
            "userspace: {addresses: x}",
            "KubeProxyUserspaceConfiguration.Addresses: Unsupported value: \"x\": supported values: \"made\", \"prepared\"",
        ),
    ),
    row(
        "userspace.maxSessions",
        "",
        "userspace: {maxSessions: 5000}",
        Sets(|c| c.userspace.max_sessions == 5000),
        (
            "userspace: {maxSessions: -1}",
            "KubeProxyUserspaceConfiguration.MaxSessions: Invalid value: -1: must be greater than or equal to 0",
        ),
    ),
    row(
        "userspace.maxSessionsPerService",
        "",
        "userspace: {maxSessionsPerService: 50}",
        Sets(|c| c.userspace.max_sessions_per_service == 50),
        (
            "userspace: {maxSessionsPerService: -1}",
            "KubeProxyUserspaceConfiguration.MaxSessionsPerService: Invalid value: -1: must be greater than or equal to 0",
        ),
    ),
    row(
        "userspace.udpTimeout",
        "",
        "userspace: {udpTimeout: 1m}",
        Sets(|c| c.userspace.udp_timeout.as_secs() == 60),
        (
            "userspace: {udpTimeout: -1s}\nmode: ipvs",
            "KubeProxyUserspaceConfiguration.UDPTimeout: Invalid value: -1s: must be greater than 0",
        ),
    ),
    row(
        "userspace.udpSingleTimeout",
        "",
        "userspace: {udpSingleTimeout: 3s}",
        Sets(|c| c.userspace.udp_single_timeout.as_secs() == 3),
        (
            "userspace: {udpSingleTimeout: 5}",
            "userspace.udpSingleTimeout: found integer `5`, want a duration",
        ),
    ),
];

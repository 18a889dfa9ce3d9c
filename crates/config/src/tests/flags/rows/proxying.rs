//! What it learns from and how it forwards.

use super::*;

pub(super) const ROWS: [Row; 30] = [
    row(
        "master",
        "",
        &["--master=http://[::1]:8080"],
        Sets(|c| api(c).master.as_deref() == Some("http://[::1]:8080")),
        (&["--manifests=a", "--master=b"], "--manifests and --master are mutually exclusive"),
    ),
    row(
        "kubeconfig",
        "",
        &["--kubeconfig=/k"],
        Sets(|c| api(c).kubeconfig == Some("/k".into())),
        (&["--manifests=a", "--kubeconfig=b"], "--manifests and --kubeconfig are mutually exclusive"),
    ),
    row(
        "kube-api-content-type",
        "application/vnd.kubernetes.protobuf",
        &["--kube-api-content-type=application/vnd.kubernetes.protobuf"],
        Notes("--kube-api-content-type: objects are requested as JSON"),
        ANYTHING,
    ),
    row(
        "kube-api-qps",
        "5",
        &["--kube-api-qps=7.5"],
        Sets(|c| (api(c).qps - 7.5).abs() < f32::EPSILON),
        (&["--kube-api-qps=inf"], "invalid value \"inf\" for --kube-api-qps: not a number"),
    ),
    row(
        "kube-api-burst",
        "10",
        &["--kube-api-burst=0x14"],
        Sets(|c| api(c).burst == 20),
        (
            &["--kube-api-burst=-1"],
            "KubeProxyConfiguration.ClientConnection.Burst: Invalid value: -1: must be greater than or equal to 0",
        ),
    ),
    row(
        "config-sync-period",
        "15m0s",
        &["--config-sync-period=1h"],
        Notes("--config-sync-period: objects are watched and never listed again periodically"),
        (
            &["--config-sync-period=0"],
            "KubeProxyConfiguration.ConfigSyncPeriod: Invalid value: 0s: must be greater than 0",
        ),
    ),
    row("manifests", "", &["--manifests=/m"], Sets(|c| c.source == Source::Manifests("/m".into())), ANYTHING),
    row(
        "hostname-override",
        "",
        &["--hostname-override= Node-7 "],
        Sets(|c| &*c.node().node_name == "node-7"),
        (&["--hostname-override", "  "], "empty hostname-override is invalid"),
    ),
    row(
        "proxy-mode",
        "",
        &["--proxy-mode=ipvs"],
        Sets(|c| c.mode == ModeSelection::Explicit(ProxyMode::IPVS)),
        (
            &["--proxy-mode=NFTables"],
            "KubeProxyConfiguration.Mode.ProxyMode: Invalid value: \"NFTables\": must be auto, iptables, ipvs, mine, \
                 nftables, userspace or blank (blank means the best that this host can do)",
        ),
    ),
    row(
        "mode-fallback",
        "true",
        &["--mode-fallback=false"],
        Sets(|c| !c.mode_fallback),
        (
            &["--mode-fallback=no"],
            "invalid value \"no\" for --mode-fallback: not one of true, false, 1, 0, t, f",
        ),
    ),
    row(
        "feature-gates",
        "",
        &["--feature-gates=AllowServiceExternalIPs=false,ComponentFlagz=f,WatchListClient=false"],
        Sets(|c| !c.node().allow_external_ips && !c.gates.is_on("ComponentFlagz") && !api(c).streamed_lists),
        (
            &["--feature-gates=NFTablesProxyMode=false"],
            "KubeProxyConfiguration.featureGates: Invalid value: \"NFTablesProxyMode=false\": cannot set feature gate \
                 NFTablesProxyMode to false, feature is locked to true",
        ),
    ),
    row(
        "iptables-sync-period",
        "30s",
        &["--iptables-sync-period=1m30s"],
        Sets(|c| c.sync.max == seconds(90)),
        (
            &["--iptables-sync-period=0"],
            "KubeProxyConfiguration.SyncPeriod: Invalid value: 0s: must be greater than 0",
        ),
    ),
    row(
        "iptables-min-sync-period",
        "0s",
        &["--iptables-min-sync-period=1.5s", "--mode=nftables"],
        Sets(|c| c.sync.min == Duration::from_millis(1500)),
        (
            &["--iptables-min-sync-period=31s"],
            "KubeProxyConfiguration.SyncPeriod: Invalid value: 31s: must be greater than or equal to \
                 KubeProxyConfiguration.MinSyncPeriod",
        ),
    ),
    row(
        "iptables-masquerade-bit",
        "14",
        &["--iptables-masquerade-bit=31"],
        Sets(|c| c.node().masquerade_mark == 0x8000_0000),
        (
            &["--iptables-masquerade-bit=32", "--mode=nftables"],
            "KubeProxyConfiguration.KubeProxyIPTablesConfiguration.MasqueradeBit: Invalid value: 32: must be within the \
                 range [0, 31]",
        ),
    ),
    row(
        "iptables-localhost-nodeports",
        "true",
        &["--iptables-localhost-nodeports", "--mode=nftables"],
        Notes(
            "--iptables-localhost-nodeports: only mode iptables accepts connections to node ports on 127.0.0.0/8",
        ),
        (
            &["--iptables-localhost-nodeports=maybe"],
            "invalid value \"maybe\" for --iptables-localhost-nodeports: not one of true, false, 1, 0, t, f",
        ),
    ),
    row(
        "masquerade-all",
        "false",
        &["--masquerade-all"],
        Sets(|c| c.node().masquerade_all),
        (
            &["--masquerade-all=yes"],
            "invalid value \"yes\" for --masquerade-all: not one of true, false, 1, 0, t, f",
        ),
    ),
    row(
        "ipvs-sync-period",
        "30s",
        &["--ipvs-sync-period=5s", "--mode=ipvs"],
        Sets(|c| c.sync.max == seconds(5)),
        (
            &["--ipvs-sync-period=5"],
            "invalid value \"5\" for --ipvs-sync-period: not a duration such as 500ms, 30s or 1m30s",
        ),
    ),
    row(
        "ipvs-min-sync-period",
        "0s",
        &["--ipvs-min-sync-period=2s", "--mode=ipvs"],
        Sets(|c| c.sync.min == seconds(2)),
        (
            &["--ipvs-min-sync-period=-1s", "--mode=ipvs"],
            "KubeProxyConfiguration.MinSyncPeriod: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row("ipvs-scheduler", "", &["--ipvs-scheduler=lc"], Sets(|c| c.ipvs.scheduler == "lc"), ANYTHING),
    row(
        "ipvs-exclude-cidrs",
        "[]",
        &["--ipvs-exclude-cidrs=192.0.2.0/24"],
        Sets(|c| c.ipvs.exclude_cidrs == ["192.0.2.0/24".parse().unwrap()]),
        (
            &["--ipvs-exclude-cidrs=192.0.2.0/24,bad", "--mode=ipvs"],
            "KubeProxyConfiguration.KubeProxyIPVSConfiguration.ExcludeCidrs[1]: Invalid value: \"bad\": must be a valid CIDR",
        ),
    ),
    row(
        "ipvs-strict-arp",
        "false",
        &["--ipvs-strict-arp"],
        Sets(|c| c.ipvs.strict_arp),
        (
            &["--ipvs-strict-arp=x"],
            "invalid value \"x\" for --ipvs-strict-arp: not one of true, false, 1, 0, t, f",
        ),
    ),
    row(
        "ipvs-tcp-timeout",
        "0s",
        &["--ipvs-tcp-timeout=15m"],
        Sets(|c| c.ipvs.tcp_timeout.as_secs() == 15 * 60),
        (
            &["--ipvs-tcp-timeout=-1s", "--mode=ipvs"],
            "KubeProxyConfiguration.KubeProxyIPVSConfiguration.TCPTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "ipvs-tcpfin-timeout",
        "0s",
        &["--ipvs-tcpfin-timeout=2m"],
        Sets(|c| c.ipvs.tcp_fin_timeout.as_secs() == 120),
        (
            &["--ipvs-tcpfin-timeout=-1s", "--mode=ipvs"],
            "KubeProxyConfiguration.KubeProxyIPVSConfiguration.TCPFinTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "ipvs-udp-timeout",
        "0s",
        &["--ipvs-udp-timeout=300ms"],
        Sets(|c| c.ipvs.udp_timeout.as_millis() == 300),
        (
            &["--ipvs-udp-timeout=-1s", "--mode=ipvs"],
            "KubeProxyConfiguration.KubeProxyIPVSConfiguration.UDPTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "userspace-addresses",
        "made",
        &["--userspace-addresses=prepared"],
        Sets(|c| c.userspace.addresses == ServiceAddresses::Prepared),
        (
            &["--userspace-addresses=Made"],
            "KubeProxyConfiguration.KubeProxyUserspaceConfiguration.Addresses: Unsupported value: \"Made\": supported \
                 values: \"made\", \"prepared\"",
        ),
    ),
    row(
        "userspace-max-sessions",
        "0",
        &["--userspace-max-sessions=5000"],
        Sets(|c| c.userspace.max_sessions == 5000),
        (
            &["--userspace-max-sessions=-1"],
            "KubeProxyConfiguration.KubeProxyUserspaceConfiguration.MaxSessions: Invalid value: -1: must be greater \
                 than or equal to 0",
        ),
    ),
    row(
        "userspace-max-sessions-per-service",
        "0",
        &["--userspace-max-sessions-per-service=50"],
        Sets(|c| c.userspace.max_sessions_per_service == 50),
        (
            &["--userspace-max-sessions-per-service=x"],
            "invalid value \"x\" for --userspace-max-sessions-per-service: not an integer from -2147483648 to 2147483647",
        ),
    ),
    row(
        "udp-timeout",
        "2m0s",
        &["--udp-timeout=250ms"],
        Sets(|c| c.userspace.udp_timeout == Duration::from_millis(250)),
        (
            &["--udp-timeout=0", "--mode=nftables"],
            "KubeProxyConfiguration.KubeProxyUserspaceConfiguration.UDPTimeout: Invalid value: 0s: must be greater than 0",
        ),
    ),
    row(
        "userspace-udp-single-timeout",
        "10s",
        &["--userspace-udp-single-timeout=3s"],
        Sets(|c| c.userspace.udp_single_timeout == seconds(3)),
        (
            &["--userspace-udp-single-timeout=-1s"],
            "KubeProxyConfiguration.KubeProxyUserspaceConfiguration.UDPSingleTimeout: Invalid value: -1s: must be \
                 greater than 0",
        ),
    ),
    row(
        "proxy-port-range",
        "",
        &["--proxy-port-range=40000-41000"],
        Notes("--proxy-port-range: unused, as in kube-proxy"),
        ANYTHING,
    ),
];

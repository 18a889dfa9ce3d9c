//! The node, its kernel, and where it answers.

use super::*;

pub(super) const ROWS: [Row; 21] = [
    row(
        "bind-address",
        "0.0.0.0",
        &["--bind-address=2001:db8::7"],
        Sets(|c| {
            c.bind_address == Some("2001:db8::7".parse().unwrap())
                && c.node().bind_address == c.bind_address
                && c.bind_family == portolan_core::IpFamily::V6
                && c.metrics_address == address("127.0.0.1:10249")
        }),
        (
            &["--bind-address=10.0.0.1:80"],
            "invalid value \"10.0.0.1:80\" for --bind-address: \"10.0.0.1:80\" is not an IP address",
        ),
    ),
    row(
        "detect-local-mode",
        "",
        &["--detect-local-mode=NodeCIDR"],
        Sets(|c| c.node().detect_local == DetectLocal::NodeCidr),
        (
            &["--detect-local-mode=nodeCIDR"],
            "KubeProxyConfiguration.DetectLocalMode: Unsupported value: \"nodeCIDR\": supported values: \"ClusterCIDR\", \
                 \"NodeCIDR\", \"BridgeInterface\", \"InterfaceNamePrefix\", \"\"",
        ),
    ),
    row(
        "cluster-cidr",
        "",
        &["--cluster-cidr=010.1.2.3/16,fd00::/48"],
        Sets(|c| {
            c.node().detect_local
                == DetectLocal::ClusterCidr(vec![
                    "10.1.0.0/16".parse().unwrap(),
                    "fd00::/48".parse().unwrap(),
                ])
        }),
        (
            &["--cluster-cidr=10.0.0.0/8,"],
            "KubeProxyConfiguration.DetectLocalConfiguration.ClusterCIDRs[1]: Invalid value: \"\": must be a valid CIDR block \
                 (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)",
        ),
    ),
    row(
        "pod-bridge-interface",
        "",
        &["--pod-bridge-interface=cni0+", "--detect-local-mode=BridgeInterface"],
        Sets(|c| c.node().detect_local == DetectLocal::BridgeInterface("cni0+".into())),
        (
            &["--detect-local-mode=BridgeInterface"],
            "KubeProxyConfiguration.DetectLocalConfiguration.InterfaceName: Invalid value: \"\": must not be empty",
        ),
    ),
    row(
        "pod-interface-name-prefix",
        "",
        &["--pod-interface-name-prefix=veth", "--detect-local-mode=InterfaceNamePrefix"],
        Sets(|c| c.node().detect_local == DetectLocal::InterfaceNamePrefix("veth".into())),
        (
            &["--detect-local-mode=InterfaceNamePrefix"],
            "KubeProxyConfiguration.DetectLocalConfiguration.InterfacePrefix: Invalid value: \"\": must not be empty",
        ),
    ),
    row(
        "nodeport-addresses",
        "[]",
        &["--nodeport-addresses=primary"],
        Sets(|c| c.node().node_port_addresses == NodePortSelection::Primary),
        (
            &["--nodeport-addresses=10.0.0.0/8", "--nodeport-addresses=primary"],
            "KubeProxyConfiguration.NodePortAddresses[1]: Invalid value: \"primary\": can't use both 'primary' and CIDRs",
        ),
    ),
    row(
        "oom-score-adj",
        "-999",
        &["--oom-score-adj=-500"],
        Sets(|c| c.oom_score_adj == -500),
        (
            &["--oom-score-adj=-1001"],
            "KubeProxyConfiguration.KubeProxyLinuxConfiguration.OOMScoreAdj: Invalid value: -1001: must be within the range [-1000, 1000]",
        ),
    ),
    row(
        "conntrack-max-per-core",
        "32768",
        &["--conntrack-max-per-core=0"],
        Sets(|c| c.conntrack.max_per_core == 0),
        (
            &["--conntrack-max-per-core=-1"],
            "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.MaxPerCore: Invalid value: -1: \
                 must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack-min",
        "131072",
        &["--conntrack-min=1_000"],
        Sets(|c| c.conntrack.min == 1000),
        (
            &["--conntrack-min=2147483648"],
            "invalid value \"2147483648\" for --conntrack-min: not an integer from -2147483648 to 2147483647",
        ),
    ),
    row(
        "conntrack-tcp-timeout-established",
        "24h0m0s",
        &["--conntrack-tcp-timeout-established=0"],
        Sets(|c| c.conntrack.tcp_established_timeout == Duration::ZERO),
        (
            &["--conntrack-tcp-timeout-established=-1s"],
            "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.TCPEstablishedTimeout: \
                 Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack-tcp-timeout-close-wait",
        "1h0m0s",
        &["--conntrack-tcp-timeout-close-wait=10m"],
        Sets(|c| c.conntrack.tcp_close_wait_timeout == seconds(600)),
        (
            &["--conntrack-tcp-timeout-close-wait=-1s"],
            "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.TCPCloseWaitTimeout: \
                 Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack-tcp-be-liberal",
        "false",
        &["--conntrack-tcp-be-liberal"],
        Sets(|c| c.conntrack.tcp_be_liberal),
        (
            &["--conntrack-tcp-be-liberal=x"],
            "invalid value \"x\" for --conntrack-tcp-be-liberal: not one of true, false, 1, 0, t, f",
        ),
    ),
    row(
        "conntrack-udp-timeout",
        "0s",
        &["--conntrack-udp-timeout=30s"],
        Sets(|c| c.conntrack.udp_timeout == seconds(30)),
        (
            &["--conntrack-udp-timeout=-1s"],
            "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.UDPTimeout: \
                 Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack-udp-timeout-stream",
        "0s",
        &["--conntrack-udp-timeout-stream=3m"],
        Sets(|c| c.conntrack.udp_stream_timeout == seconds(180)),
        (
            &["--conntrack-udp-timeout-stream=-1s"],
            "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.UDPStreamTimeout: \
                 Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "healthz-bind-address",
        "0.0.0.0:10256",
        &["--healthz-bind-address=::"],
        Sets(|c| c.healthz_address == Some(address("[::]:10256"))),
        (
            &["--healthz-bind-address=0.0.0.0:0"],
            "invalid value \"0.0.0.0:0\" for --healthz-bind-address: not an IP address, or IP:port with a port from 1 to 65535",
        ),
    ),
    row(
        "metrics-bind-address",
        "127.0.0.1:10249",
        &["--metrics-bind-address=0.0.0.0:9"],
        Sets(|c| c.metrics_address == address("0.0.0.0:9")),
        (
            &["--metrics-bind-address=localhost:80"],
            "invalid value \"localhost:80\" for --metrics-bind-address: not an IP address, or IP:port with a port from 1 to 65535",
        ),
    ),
    row(
        "bind-address-hard-fail",
        "false",
        &["--bind-address-hard-fail"],
        Sets(|c| c.bind_address_hard_fail),
        (
            &["--bind-address-hard-fail=x"],
            "invalid value \"x\" for --bind-address-hard-fail: not one of true, false, 1, 0, t, f",
        ),
    ),
    row(
        "profiling",
        "false",
        &["--profiling"],
        Sets(|c| c.profiling),
        (&["--profiling=x"], "invalid value \"x\" for --profiling: not one of true, false, 1, 0, t, f"),
    ),
    row(
        "show-hidden-metrics-for-version",
        "",
        &["--show-hidden-metrics-for-version=1.35"],
        Notes("--show-hidden-metrics-for-version: no metrics are hidden"),
        (
            &["--show-hidden-metrics-for-version=1.34"],
            "KubeProxyConfiguration.ShowHiddenMetricsForVersion: Invalid value: \"1.34\": must be omitted or have the value '1.35'",
        ),
    ),
    row(
        "healthz-port",
        "10256",
        &["--healthz-port=0"],
        Sets(|c| c.healthz_address.is_none()),
        (
            &["--healthz-port=70000", "--healthz-bind-address=0.0.0.0"],
            "KubeProxyConfiguration.HealthzBindAddress: Invalid value: \"70000\": must be a valid port",
        ),
    ),
    row(
        "metrics-port",
        "10249",
        &["--metrics-port=9", "--metrics-bind-address=127.0.0.1"],
        Sets(|c| c.metrics_address == address("127.0.0.1:9")),
        (
            &["--metrics-port=0"],
            "KubeProxyConfiguration.MetricsBindAddress: Invalid value: \"\": must be IP:port",
        ),
    ),
];

//! Windows, the node and its kernel.

use super::*;

pub(super) const ROWS: [Row; 21] = [
    row(
        "winkernel.networkName",
        "\"\"",
        "winkernel: {networkName: x}",
        Notes("Windows only"),
        ("winkernel: {networkName: 5}", "winkernel.networkName: found integer `5`, want a string"),
    ),
    row(
        "winkernel.sourceVip",
        "\"\"",
        "winkernel: {sourceVip: 192.0.2.1}",
        Notes("Windows only"),
        ("winkernel: {sourceVip: 5}", "winkernel.sourceVip: found integer `5`, want a string"),
    ),
    row(
        "winkernel.rootHnsEndpointName",
        "\"\"",
        "winkernel: {rootHnsEndpointName: x}",
        Notes("Windows only"),
        (
            "winkernel: {rootHnsEndpointName: 5}",
            "winkernel.rootHnsEndpointName: found integer `5`, want a string",
        ),
    ),
    row(
        "winkernel.enableDSR",
        "false",
        "winkernel: {enableDSR: true}",
        Notes("Windows only"),
        ("winkernel: {enableDSR: 1}", "winkernel.enableDSR: found integer `1`, want a boolean"),
    ),
    row(
        "winkernel.forwardHealthCheckVip",
        "false",
        "winkernel: {forwardHealthCheckVip: true}",
        Notes("Windows only"),
        (
            "winkernel: {forwardHealthCheckVip: 1}",
            "winkernel.forwardHealthCheckVip: found integer `1`, want a boolean",
        ),
    ),
    row(
        "detectLocalMode",
        "\"\"",
        "detectLocalMode: NodeCIDR",
        Sets(|c| c.node().detect_local == DetectLocal::NodeCidr),
        (
            "detectLocalMode: nodeCIDR",
            "DetectLocalMode: Unsupported value: \"nodeCIDR\": supported values: \"ClusterCIDR\", \"NodeCIDR\", \"BridgeInterface\", \"InterfaceNamePrefix\", \"\"",
        ),
    ),
    row(
        "detectLocal.bridgeInterface",
        "\"\"",
        "detectLocal: {bridgeInterface: cni0}\ndetectLocalMode: BridgeInterface",
        Sets(|c| c.node().detect_local == DetectLocal::BridgeInterface("cni0".into())),
        (
            "detectLocalMode: BridgeInterface",
            "DetectLocalConfiguration.InterfaceName: Invalid value: \"\": must not be empty",
        ),
    ),
    row(
        "detectLocal.interfaceNamePrefix",
        "\"\"",
        "detectLocal: {interfaceNamePrefix: veth}\ndetectLocalMode: InterfaceNamePrefix",
        Sets(|c| c.node().detect_local == DetectLocal::InterfaceNamePrefix("veth".into())),
        (
            "detectLocalMode: InterfaceNamePrefix",
            "DetectLocalConfiguration.InterfacePrefix: Invalid value: \"\": must not be empty",
        ),
    ),
    row(
        "clusterCIDR",
        "\"\"",
        "clusterCIDR: 10.0.0.0/8",
        Sets(|c| c.node().detect_local == DetectLocal::ClusterCidr(vec!["10.0.0.0/8".parse().unwrap()])),
        (
            "clusterCIDR: 10.0.0.0",
            "DetectLocalConfiguration.ClusterCIDRs[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)",
        ),
    ),
    row(
        "nodePortAddresses",
        "null",
        "nodePortAddresses: [primary]",
        Sets(|c| c.node().node_port_addresses == NodePortSelection::Primary),
        ("nodePortAddresses: [x]", "NodePortAddresses[0]: Invalid value: \"x\": must be a valid CIDR"),
    ),
    row(
        "oomScoreAdj",
        "-999",
        "oomScoreAdj: 5",
        Sets(|c| c.oom_score_adj == 5),
        (
            "oomScoreAdj: 1001",
            "KubeProxyLinuxConfiguration.OOMScoreAdj: Invalid value: 1001: must be within the range [-1000, 1000]",
        ),
    ),
    row(
        "conntrack.maxPerCore",
        "32768",
        "conntrack: {maxPerCore: 1}",
        Sets(|c| c.conntrack.max_per_core == 1),
        (
            "conntrack: {maxPerCore: -1}",
            "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.MaxPerCore: Invalid value: -1: must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack.min",
        "131072",
        "conntrack: {min: 1}",
        Sets(|c| c.conntrack.min == 1),
        (
            "conntrack: {min: -1}",
            "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.Min: Invalid value: -1: must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack.tcpEstablishedTimeout",
        "\"24h0m0s\"",
        "conntrack: {tcpEstablishedTimeout: 1m}",
        Sets(|c| c.conntrack.tcp_established_timeout.as_secs() == 60),
        (
            "conntrack: {tcpEstablishedTimeout: -1s}",
            "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.TCPEstablishedTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack.tcpCloseWaitTimeout",
        "\"1h0m0s\"",
        "conntrack: {tcpCloseWaitTimeout: 1m}",
        Sets(|c| c.conntrack.tcp_close_wait_timeout.as_secs() == 60),
        (
            "conntrack: {tcpCloseWaitTimeout: -1s}",
            "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.TCPCloseWaitTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack.tcpBeLiberal",
        "false",
        "conntrack: {tcpBeLiberal: true}",
        Sets(|c| c.conntrack.tcp_be_liberal),
        ("conntrack: {tcpBeLiberal: 1}", "conntrack.tcpBeLiberal: found integer `1`, want a boolean"),
    ),
    row(
        "conntrack.udpTimeout",
        "\"0s\"",
        "conntrack: {udpTimeout: 1m}",
        Sets(|c| c.conntrack.udp_timeout.as_secs() == 60),
        (
            "conntrack: {udpTimeout: -1s}",
            "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.UDPTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "conntrack.udpStreamTimeout",
        "\"0s\"",
        "conntrack: {udpStreamTimeout: 1m}",
        Sets(|c| c.conntrack.udp_stream_timeout.as_secs() == 60),
        (
            "conntrack: {udpStreamTimeout: -1s}",
            "KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.UDPStreamTimeout: Invalid value: -1s: must be greater than or equal to 0",
        ),
    ),
    row(
        "configSyncPeriod",
        "\"15m0s\"",
        "configSyncPeriod: 1h",
        Notes("objects are watched and never listed again periodically"),
        ("configSyncPeriod: -1s", "ConfigSyncPeriod: Invalid value: -1s: must be greater than 0"),
    ),
    row(
        "portRange",
        "\"\"",
        "portRange: 1-2",
        Notes("unused, as in kube-proxy"),
        ("portRange: 5", "portRange: found integer `5`, want a string"),
    ),
    row(
        "windowsRunAsService",
        "",
        "windowsRunAsService: true",
        Notes("Windows only"),
        ("windowsRunAsService: 1", "windowsRunAsService: found integer `1`, want a boolean"),
    ),
];

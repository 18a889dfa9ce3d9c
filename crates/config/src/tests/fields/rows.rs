//! The rows.

use portolan_core::node::{DetectLocal, NodePortSelection};

use super::super::*;
use super::Effect::{self, Notes, Sets};
use super::Row;

fn api(config: &Config) -> &ApiAccess {
    match &config.source {
        Source::Api(access) => access,
        Source::Manifests(folder) => panic!("{folder:?}"),
    }
}

/// A value of `/configz` while `mode` runs, as JSON.
fn shown(config: &Config, mode: &'static str, pointer: &str) -> String {
    let page: serde_json::Value = serde_json::from_str(&config.configz(&ProxyMode::new(mode))).unwrap();
    let pointer = format!("/kubeproxy.config.k8s.io/{pointer}");
    page.pointer(&pointer).unwrap_or_else(|| panic!("{pointer} in {page}")).to_string()
}

/// A field, its default, a file with it, what that does, a file that is refused for it, how.
fn row(
    field: &'static str,
    default: &'static str,
    accepted: &'static str,
    effect: Effect,
    refused: (&'static str, &'static str),
) -> Row {
    Row { field, default, accepted, effect, refused: Some(refused) }
}

/// All rows, in the order of the file.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = general();
    rows.extend(modes());
    rows.extend(node());
    rows
}

fn general() -> Vec<Row> {
    vec![
        row(
            "featureGates",
            "",
            "featureGates: {AllowServiceExternalIPs: false}",
            Sets(|c| !c.node().allow_external_ips),
            (
                "featureGates: {NFTablesProxyMode: false}",
                "featureGates: Invalid value: \"NFTablesProxyMode=false\": cannot set feature gate NFTablesProxyMode to false, feature is locked to true",
            ),
        ),
        row(
            "clientConnection.kubeconfig",
            "\"\"",
            "clientConnection: {kubeconfig: /k}",
            Sets(|c| api(c).kubeconfig == Some("/k".into())),
            (
                "clientConnection: {kubeconfig: 5}",
                "clientConnection.kubeconfig: a number stands where text should",
            ),
        ),
        row(
            "clientConnection.acceptContentTypes",
            "\"\"",
            "clientConnection: {acceptContentTypes: text/plain}",
            Notes("objects are asked for as JSON"),
            (
                "clientConnection: {acceptContentTypes: 5}",
                "clientConnection.acceptContentTypes: a number stands where text should",
            ),
        ),
        row(
            "clientConnection.contentType",
            "\"application/vnd.kubernetes.protobuf\"",
            "clientConnection: {contentType: application/cbor}",
            Notes("objects are asked for as JSON"),
            (
                "clientConnection: {contentType: 5}",
                "clientConnection.contentType: a number stands where text should",
            ),
        ),
        row(
            "clientConnection.qps",
            "5.0",
            "clientConnection: {qps: -1}",
            Sets(|c| api(c).qps < 0.0),
            ("clientConnection: {qps: many}", "clientConnection.qps: text stands where a number should"),
        ),
        row(
            "clientConnection.burst",
            "10",
            "clientConnection: {burst: 7}",
            Sets(|c| api(c).burst == 7),
            (
                "clientConnection: {burst: -1}",
                "ClientConnection.Burst: Invalid value: -1: must be greater than or equal to 0",
            ),
        ),
        row(
            "logging.format",
            "\"text\"",
            "logging: {format: json}",
            Sets(|c| c.logging.format == LogFormat::Json),
            ("logging: {format: xml}", "logging.format: Invalid value: \"xml\": Unsupported log format"),
        ),
        row(
            "logging.flushFrequency",
            "\"5s\"",
            "logging: {flushFrequency: 1s}",
            Notes("log lines are written at once, there is no buffer"),
            (
                "logging: {flushFrequency: -1s}",
                "logging.flushFrequency: Invalid value: -1s: must be greater than 0",
            ),
        ),
        row(
            "logging.verbosity",
            "0",
            "logging: {verbosity: 4}",
            Sets(|c| c.logging.verbosity == 4),
            (
                "logging: {verbosity: 2147483648}",
                "logging.verbosity: Invalid value: 2147483648: Must be <= 2147483647",
            ),
        ),
        row(
            "logging.vmodule",
            "",
            "logging: {vmodule: [{filePattern: a, verbosity: 1}]}",
            Notes("verbosity is one for the whole process"),
            (
                "logging: {vmodule: [{verbosity: 1}]}",
                "logging.vmodule[0]: Required value: File pattern must not be empty",
            ),
        ),
        row(
            "logging.options.text.splitStream",
            "",
            "logging: {options: {text: {splitStream: true}}}\nfeatureGates: {LoggingAlphaOptions: true}",
            Sets(|c| c.logging.split_stream),
            (
                "logging: {options: {text: {splitStream: true}}}",
                "logging.options.text.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
            ),
        ),
        row(
            "logging.options.text.infoBufferSize",
            "\"0\"",
            "logging: {options: {text: {infoBufferSize: 1Ki}}}\nfeatureGates: {LoggingAlphaOptions: true}",
            Notes("log lines are written at once, there is no buffer"),
            (
                "logging: {options: {text: {infoBufferSize: many}}}",
                "logging.options.text.infoBufferSize: \"many\" is not a quantity such as 512, 1Ki or 3M",
            ),
        ),
        row(
            "logging.options.json.splitStream",
            "",
            "logging: {options: {json: {splitStream: true}}, format: json}\nfeatureGates: {LoggingAlphaOptions: true}",
            Sets(|c| c.logging.split_stream),
            (
                "logging: {options: {json: {splitStream: true}}}",
                "logging.options.json.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled",
            ),
        ),
        row(
            "logging.options.json.infoBufferSize",
            "\"0\"",
            "logging: {options: {json: {infoBufferSize: 1Ki}}}\nfeatureGates: {LoggingAlphaOptions: true}",
            Notes("log lines are written at once, there is no buffer"),
            (
                "logging: {options: {json: {infoBufferSize: many}}}",
                "logging.options.json.infoBufferSize: \"many\" is not a quantity such as 512, 1Ki or 3M",
            ),
        ),
        row(
            "hostnameOverride",
            "\"\"",
            "hostnameOverride: Other",
            Sets(|c| &*c.node().node_name == "other"),
            ("hostnameOverride: 5", "hostnameOverride: a number stands where text should"),
        ),
        row(
            "bindAddress",
            "\"0.0.0.0\"",
            "bindAddress: 10.0.0.7",
            Sets(|c| c.node().bind_address == Some("10.0.0.7".parse().unwrap())),
            (
                "bindAddress: 10.0.0.7:80",
                "BindAddress: Invalid value: \"10.0.0.7:80\": not a valid textual representation of an IP address",
            ),
        ),
        row(
            "healthzBindAddress",
            "\"0.0.0.0:10256\"",
            "healthzBindAddress: 127.0.0.1",
            Sets(|c| c.healthz_address == Some("127.0.0.1:10256".parse().unwrap())),
            (
                "healthzBindAddress: \"0.0.0.0:0\"",
                "HealthzBindAddress: Invalid value: \"0\": must be a valid port",
            ),
        ),
        row(
            "metricsBindAddress",
            "\"127.0.0.1:10249\"",
            "metricsBindAddress: 0.0.0.0",
            Sets(|c| c.metrics_address == "0.0.0.0:10249".parse().unwrap()),
            (
                "metricsBindAddress: \"localhost:80\"",
                "MetricsBindAddress: Invalid value: \"localhost\": must be a valid IP",
            ),
        ),
        row(
            "bindAddressHardFail",
            "false",
            "bindAddressHardFail: true",
            Sets(|c| c.bind_address_hard_fail),
            ("bindAddressHardFail: 1", "bindAddressHardFail: a number stands where true or false should"),
        ),
        row(
            "enableProfiling",
            "false",
            "enableProfiling: true",
            Sets(|c| c.profiling),
            ("enableProfiling: 1", "enableProfiling: a number stands where true or false should"),
        ),
        row(
            "showHiddenMetricsForVersion",
            "\"\"",
            "showHiddenMetricsForVersion: \"1.35\"",
            Notes("no metric is hidden here"),
            (
                "showHiddenMetricsForVersion: \"1.36\"",
                "ShowHiddenMetricsForVersion: Invalid value: \"1.36\": must be omitted or have the value '1.35'",
            ),
        ),
    ]
}

fn modes() -> Vec<Row> {
    vec![
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
            (
                "iptables: {masqueradeAll: 1}",
                "iptables.masqueradeAll: a number stands where true or false should",
            ),
        ),
        row(
            "iptables.localhostNodePorts",
            "true",
            "iptables: {localhostNodePorts: false}",
            Sets(|c| shown(c, "iptables", "iptables/localhostNodePorts") == "false"),
            (
                "iptables: {localhostNodePorts: 1}",
                "iptables.localhostNodePorts: a number stands where true or false should",
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
            ("ipvs: {syncPeriod: 5}", "ipvs.syncPeriod: a number stands where text should"),
        ),
        row(
            "ipvs.minSyncPeriod",
            "\"0s\"",
            "ipvs: {minSyncPeriod: 2s}\nmode: ipvs",
            Sets(|c| c.sync.min.as_secs() == 2),
            ("ipvs: {minSyncPeriod: 5}", "ipvs.minSyncPeriod: a number stands where text should"),
        ),
        row(
            "ipvs.scheduler",
            "\"\"",
            "ipvs: {scheduler: lc}\nmode: ipvs",
            Sets(|c| shown(c, "ipvs", "ipvs/scheduler") == "\"lc\""),
            ("ipvs: {scheduler: 5}", "ipvs.scheduler: a number stands where text should"),
        ),
        row(
            "ipvs.excludeCIDRs",
            "null",
            "ipvs: {excludeCIDRs: [10.0.0.0/8]}\nmode: ipvs",
            Sets(|c| shown(c, "ipvs", "ipvs/excludeCIDRs") == "[\"10.0.0.0/8\"]"),
            (
                "ipvs: {excludeCIDRs: [x]}\nmode: ipvs",
                "KubeProxyIPVSConfiguration.ExcludeCidrs[0]: Invalid value: \"x\": must be a valid CIDR",
            ),
        ),
        row(
            "ipvs.strictARP",
            "false",
            "ipvs: {strictARP: true}\nmode: ipvs",
            Sets(|c| shown(c, "ipvs", "ipvs/strictARP") == "true"),
            ("ipvs: {strictARP: 1}", "ipvs.strictARP: a number stands where true or false should"),
        ),
        row(
            "ipvs.tcpTimeout",
            "\"0s\"",
            "ipvs: {tcpTimeout: 1m}\nmode: ipvs",
            Sets(|c| shown(c, "ipvs", "ipvs/tcpTimeout") == "\"1m0s\""),
            (
                "ipvs: {tcpTimeout: -1s}\nmode: ipvs",
                "KubeProxyIPVSConfiguration.TCPTimeout: Invalid value: -1s: must be greater than or equal to 0",
            ),
        ),
        row(
            "ipvs.tcpFinTimeout",
            "\"0s\"",
            "ipvs: {tcpFinTimeout: 1m}\nmode: ipvs",
            Sets(|c| shown(c, "ipvs", "ipvs/tcpFinTimeout") == "\"1m0s\""),
            (
                "ipvs: {tcpFinTimeout: -1s}\nmode: ipvs",
                "KubeProxyIPVSConfiguration.TCPFinTimeout: Invalid value: -1s: must be greater than or equal to 0",
            ),
        ),
        row(
            "ipvs.udpTimeout",
            "\"0s\"",
            "ipvs: {udpTimeout: 1m}\nmode: ipvs",
            Sets(|c| shown(c, "ipvs", "ipvs/udpTimeout") == "\"1m0s\""),
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
            (
                "nftables: {masqueradeAll: 1}",
                "nftables.masqueradeAll: a number stands where true or false should",
            ),
        ),
        row(
            "nftables.syncPeriod",
            "\"30s\"",
            "nftables: {syncPeriod: 1m}\nmode: nftables",
            Sets(|c| c.sync.max.as_secs() == 60),
            ("nftables: {syncPeriod: 5}", "nftables.syncPeriod: a number stands where text should"),
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
    ]
}

fn node() -> Vec<Row> {
    vec![
        row(
            "winkernel.networkName",
            "\"\"",
            "winkernel: {networkName: x}",
            Notes("for Windows alone"),
            ("winkernel: {networkName: 5}", "winkernel.networkName: a number stands where text should"),
        ),
        row(
            "winkernel.sourceVip",
            "\"\"",
            "winkernel: {sourceVip: 192.0.2.1}",
            Notes("for Windows alone"),
            ("winkernel: {sourceVip: 5}", "winkernel.sourceVip: a number stands where text should"),
        ),
        row(
            "winkernel.rootHnsEndpointName",
            "\"\"",
            "winkernel: {rootHnsEndpointName: x}",
            Notes("for Windows alone"),
            (
                "winkernel: {rootHnsEndpointName: 5}",
                "winkernel.rootHnsEndpointName: a number stands where text should",
            ),
        ),
        row(
            "winkernel.enableDSR",
            "false",
            "winkernel: {enableDSR: true}",
            Notes("for Windows alone"),
            ("winkernel: {enableDSR: 1}", "winkernel.enableDSR: a number stands where true or false should"),
        ),
        row(
            "winkernel.forwardHealthCheckVip",
            "false",
            "winkernel: {forwardHealthCheckVip: true}",
            Notes("for Windows alone"),
            (
                "winkernel: {forwardHealthCheckVip: 1}",
                "winkernel.forwardHealthCheckVip: a number stands where true or false should",
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
            (
                "conntrack: {tcpBeLiberal: 1}",
                "conntrack.tcpBeLiberal: a number stands where true or false should",
            ),
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
            Notes("objects are watched, and not looked at again in between"),
            ("configSyncPeriod: -1s", "ConfigSyncPeriod: Invalid value: -1s: must be greater than 0"),
        ),
        row(
            "portRange",
            "\"\"",
            "portRange: 1-2",
            Notes("unused, in kube-proxy too"),
            ("portRange: 5", "portRange: a number stands where text should"),
        ),
        row(
            "windowsRunAsService",
            "",
            "windowsRunAsService: true",
            Notes("for Windows alone"),
            ("windowsRunAsService: 1", "windowsRunAsService: a number stands where true or false should"),
        ),
    ]
}

//! The rows.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::node::{DetectLocal, NodePortSelection};

use super::super::*;
use super::Effect::{Asks, Notes, Sets};
use super::Row;

fn api(config: &Config) -> &ApiAccess {
    match &config.source {
        Source::Api(access) => access,
        Source::Manifests(folder) => panic!("{folder:?}"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A value of `/configz` while `mode` runs, as JSON.
fn shown(config: &Config, mode: &'static str, pointer: &str) -> String {
    let page: serde_json::Value = serde_json::from_str(&config.configz(&ProxyMode::new(mode))).unwrap();
    let pointer = format!("/kubeproxy.config.k8s.io/{pointer}");
    page.pointer(&pointer).unwrap_or_else(|| panic!("{pointer} in {page}")).to_string()
}

macro_rules! refused {
    ($args:expr, $text:expr) => {
        Some((&$args, $text))
    };
}

/// All rows, in the order of `--help`.

pub(super) fn rows() -> Vec<Row> {
    let mut rows = process();
    rows.extend(cluster());
    rows.extend(mode());
    rows.extend(ipvs());
    rows.extend(node());
    rows.extend(conntrack());
    rows.extend(servers());
    rows.extend(logging());
    rows
}

fn process() -> Vec<Row> {
    vec![
        Row {
            flag: "config",
            default: "",
            accepted: &["--config=testdata/kubeadm.yaml"],
            effect: Sets(|c| c.file == Some("testdata/kubeadm.yaml".into())),
            refused: refused!(
                ["--config=/no/such/file"],
                "failed complete: open /no/such/file: No such file or directory (os error 2)"
            ),
        },
        Row {
            flag: "write-config-to",
            default: "",
            accepted: &["--write-config-to=/tmp/x.yaml"],
            effect: Asks(
                |asked| matches!(asked, Invocation::WriteConfig { path, .. } if path.ends_with("x.yaml")),
            ),
            refused: None,
        },
        Row {
            flag: "cleanup",
            default: "false",
            accepted: &["--cleanup"],
            effect: Asks(|asked| matches!(asked, Invocation::Cleanup(_))),
            refused: refused!(
                ["--cleanup="],
                "invalid value \"\" for --cleanup: not one of true, false, 1, 0, t, f"
            ),
        },
        Row {
            flag: "init-only",
            default: "false",
            accepted: &["--init-only=T"],
            effect: Asks(|asked| matches!(asked, Invocation::InitOnly(_))),
            refused: refused!(
                ["--init-only=2"],
                "invalid value \"2\" for --init-only: not one of true, false, 1, 0, t, f"
            ),
        },
        Row {
            flag: "version",
            default: "false",
            accepted: &["--version"],
            effect: Asks(|asked| *asked == Invocation::Version(format!("Kubernetes {GIT_VERSION}\n"))),
            refused: refused!(
                ["--version=v1.35.0"],
                "invalid value \"v1.35.0\" for --version: not a version of the release v1.36.2"
            ),
        },
        Row {
            flag: "help",
            default: "false",
            accepted: &["--help"],
            effect: Asks(|asked| matches!(asked, Invocation::Help(_))),
            refused: refused!(["-h=x"], "invalid value \"x\" for -h: not one of true, false, 1, 0, t, f"),
        },
    ]
}

fn cluster() -> Vec<Row> {
    vec![
        Row {
            flag: "master",
            default: "",
            accepted: &["--master=http://[::1]:8080"],
            effect: Sets(|c| api(c).master.as_deref() == Some("http://[::1]:8080")),
            refused: refused!(["--manifests=a", "--master=b"], "--manifests and --master exclude each other"),
        },
        Row {
            flag: "kubeconfig",
            default: "",
            accepted: &["--kubeconfig=/k"],
            effect: Sets(|c| api(c).kubeconfig == Some("/k".into())),
            refused: refused!(
                ["--manifests=a", "--kubeconfig=b"],
                "--manifests and --kubeconfig exclude each other"
            ),
        },
        Row {
            flag: "kube-api-content-type",
            default: "application/vnd.kubernetes.protobuf",
            accepted: &["--kube-api-content-type=application/vnd.kubernetes.protobuf"],
            effect: Notes("--kube-api-content-type: objects are asked for as JSON"),
            refused: None,
        },
        Row {
            flag: "kube-api-qps",
            default: "5",
            accepted: &["--kube-api-qps=7.5"],
            effect: Sets(|c| (api(c).qps - 7.5).abs() < f32::EPSILON),
            refused: refused!(
                ["--kube-api-qps=inf"],
                "invalid value \"inf\" for --kube-api-qps: not a number"
            ),
        },
        Row {
            flag: "kube-api-burst",
            default: "10",
            accepted: &["--kube-api-burst=0x14"],
            effect: Sets(|c| api(c).burst == 20),
            refused: refused!(
                ["--kube-api-burst=-1"],
                "KubeProxyConfiguration.ClientConnection.Burst: Invalid value: -1: must be greater than or equal to 0"
            ),
        },
        Row {
            flag: "config-sync-period",
            default: "15m0s",
            accepted: &["--config-sync-period=1h"],
            effect: Notes("--config-sync-period: objects are watched, and not looked at again in between"),
            refused: refused!(
                ["--config-sync-period=0"],
                "KubeProxyConfiguration.ConfigSyncPeriod: Invalid value: 0s: must be greater than 0"
            ),
        },
        Row {
            flag: "manifests",
            default: "",
            accepted: &["--manifests=/m"],
            effect: Sets(|c| c.source == Source::Manifests("/m".into())),
            refused: None,
        },
        Row {
            flag: "hostname-override",
            default: "",
            accepted: &["--hostname-override= Node-7 "],
            effect: Sets(|c| &*c.node().node_name == "node-7"),
            refused: refused!(["--hostname-override", "  "], "empty hostname-override is invalid"),
        },
    ]
}

fn mode() -> Vec<Row> {
    vec![
        Row {
            flag: "proxy-mode",
            default: "",
            accepted: &["--proxy-mode=ipvs"],
            effect: Sets(|c| c.mode == ModeSelection::Explicit(ProxyMode::IPVS)),
            refused: refused!(
                ["--proxy-mode=NFTables"],
                "KubeProxyConfiguration.Mode.ProxyMode: Invalid value: \"NFTables\": must be auto, iptables, ipvs, mine, \
                 nftables, userspace or blank (blank means the best that this host can do)"
            ),
        },
        Row {
            flag: "mode-fallback",
            default: "true",
            accepted: &["--mode-fallback=false"],
            effect: Sets(|c| !c.mode_fallback),
            refused: refused!(
                ["--mode-fallback=no"],
                "invalid value \"no\" for --mode-fallback: not one of true, false, 1, 0, t, f"
            ),
        },
        Row {
            flag: "feature-gates",
            default: "",
            accepted: &["--feature-gates=AllowServiceExternalIPs=false,ComponentFlagz=f"],
            effect: Sets(|c| !c.node().allow_external_ips && !c.gates.is_on("ComponentFlagz")),
            refused: refused!(
                ["--feature-gates=NFTablesProxyMode=false"],
                "KubeProxyConfiguration.featureGates: Invalid value: \"NFTablesProxyMode=false\": cannot set feature gate \
                 NFTablesProxyMode to false, feature is locked to true"
            ),
        },
        Row {
            flag: "iptables-sync-period",
            default: "30s",
            accepted: &["--iptables-sync-period=1m30s"],
            effect: Sets(|c| c.sync.max == seconds(90)),
            refused: refused!(
                ["--iptables-sync-period=0"],
                "KubeProxyConfiguration.SyncPeriod: Invalid value: 0s: must be greater than 0"
            ),
        },
        Row {
            flag: "iptables-min-sync-period",
            default: "0s",
            accepted: &["--iptables-min-sync-period=1.5s", "--mode=nftables"],
            effect: Sets(|c| c.sync.min == Duration::from_millis(1500)),
            refused: refused!(
                ["--iptables-min-sync-period=31s"],
                "KubeProxyConfiguration.SyncPeriod: Invalid value: 31s: must be greater than or equal to \
                 KubeProxyConfiguration.MinSyncPeriod"
            ),
        },
        Row {
            flag: "iptables-masquerade-bit",
            default: "14",
            accepted: &["--iptables-masquerade-bit=31"],
            effect: Sets(|c| c.node().masquerade_mark == 0x8000_0000),
            refused: refused!(
                ["--iptables-masquerade-bit=32", "--mode=nftables"],
                "KubeProxyConfiguration.KubeProxyIPTablesConfiguration.MasqueradeBit: Invalid value: 32: must be within the \
                 range [0, 31]"
            ),
        },
        Row {
            flag: "iptables-localhost-nodeports",
            default: "true",
            accepted: &["--iptables-localhost-nodeports", "--mode=nftables"],
            effect: Notes(
                "--iptables-localhost-nodeports: node ports answer on 127.0.0.0/8 in mode iptables alone",
            ),
            refused: refused!(
                ["--iptables-localhost-nodeports=maybe"],
                "invalid value \"maybe\" for --iptables-localhost-nodeports: not one of true, false, 1, 0, t, f"
            ),
        },
        Row {
            flag: "masquerade-all",
            default: "false",
            accepted: &["--masquerade-all"],
            effect: Sets(|c| c.node().masquerade_all),
            refused: refused!(
                ["--masquerade-all=yes"],
                "invalid value \"yes\" for --masquerade-all: not one of true, false, 1, 0, t, f"
            ),
        },
    ]
}

fn ipvs() -> Vec<Row> {
    vec![
        Row {
            flag: "ipvs-sync-period",
            default: "30s",
            accepted: &["--ipvs-sync-period=5s", "--mode=ipvs"],
            effect: Sets(|c| c.sync.max == seconds(5)),
            refused: refused!(
                ["--ipvs-sync-period=5"],
                "invalid value \"5\" for --ipvs-sync-period: not a duration such as 500ms, 30s or 1m30s"
            ),
        },
        Row {
            flag: "ipvs-min-sync-period",
            default: "0s",
            accepted: &["--ipvs-min-sync-period=2s", "--mode=ipvs"],
            effect: Sets(|c| c.sync.min == seconds(2)),
            refused: refused!(
                ["--ipvs-min-sync-period=-1s", "--mode=ipvs"],
                "KubeProxyConfiguration.MinSyncPeriod: Invalid value: -1s: must be greater than or equal to 0"
            ),
        },
        Row {
            flag: "ipvs-scheduler",
            default: "",
            accepted: &["--ipvs-scheduler=lc"],
            effect: Sets(|c| shown(c, "ipvs", "ipvs/scheduler") == "\"lc\""),
            refused: None,
        },
        Row {
            flag: "ipvs-exclude-cidrs",
            default: "[]",
            accepted: &["--ipvs-exclude-cidrs=192.0.2.0/24"],
            effect: Sets(|c| shown(c, "ipvs", "ipvs/excludeCIDRs") == "[\"192.0.2.0/24\"]"),
            refused: refused!(
                ["--ipvs-exclude-cidrs=192.0.2.0/24,bad", "--mode=ipvs"],
                "KubeProxyConfiguration.KubeProxyIPVSConfiguration.ExcludeCidrs[1]: Invalid value: \"bad\": must be a valid CIDR"
            ),
        },
        Row {
            flag: "ipvs-strict-arp",
            default: "false",
            accepted: &["--ipvs-strict-arp"],
            effect: Sets(|c| shown(c, "ipvs", "ipvs/strictARP") == "true"),
            refused: refused!(
                ["--ipvs-strict-arp=x"],
                "invalid value \"x\" for --ipvs-strict-arp: not one of true, false, 1, 0, t, f"
            ),
        },
        Row {
            flag: "ipvs-tcp-timeout",
            default: "0s",
            accepted: &["--ipvs-tcp-timeout=15m"],
            effect: Sets(|c| shown(c, "ipvs", "ipvs/tcpTimeout") == "\"15m0s\""),
            refused: refused!(
                ["--ipvs-tcp-timeout=-1s", "--mode=ipvs"],
                "KubeProxyConfiguration.KubeProxyIPVSConfiguration.TCPTimeout: Invalid value: -1s: must be greater than or equal to 0"
            ),
        },
        Row {
            flag: "ipvs-tcpfin-timeout",
            default: "0s",
            accepted: &["--ipvs-tcpfin-timeout=2m"],
            effect: Sets(|c| shown(c, "ipvs", "ipvs/tcpFinTimeout") == "\"2m0s\""),
            refused: refused!(
                ["--ipvs-tcpfin-timeout=-1s", "--mode=ipvs"],
                "KubeProxyConfiguration.KubeProxyIPVSConfiguration.TCPFinTimeout: Invalid value: -1s: must be greater than or equal to 0"
            ),
        },
        Row {
            flag: "ipvs-udp-timeout",
            default: "0s",
            accepted: &["--ipvs-udp-timeout=300ms"],
            effect: Sets(|c| shown(c, "ipvs", "ipvs/udpTimeout") == "\"300ms\""),
            refused: refused!(
                ["--ipvs-udp-timeout=-1s", "--mode=ipvs"],
                "KubeProxyConfiguration.KubeProxyIPVSConfiguration.UDPTimeout: Invalid value: -1s: must be greater than or equal to 0"
            ),
        },
    ]
}

fn node() -> Vec<Row> {
    vec![
        Row {
            flag: "bind-address",
            default: "0.0.0.0",
            accepted: &["--bind-address=2001:db8::7"],
            effect: Sets(|c| {
                c.bind_address == Some("2001:db8::7".parse().unwrap())
                    && c.node().bind_address == c.bind_address
                    && c.bind_family == portolan_core::IpFamily::V6
                    && c.metrics_address == address("127.0.0.1:10249")
            }),
            refused: refused!(
                ["--bind-address=10.0.0.1:80"],
                "invalid value \"10.0.0.1:80\" for --bind-address: \"10.0.0.1:80\" is no IP address"
            ),
        },
        Row {
            flag: "detect-local-mode",
            default: "",
            accepted: &["--detect-local-mode=NodeCIDR"],
            effect: Sets(|c| c.node().detect_local == DetectLocal::NodeCidr),
            refused: refused!(
                ["--detect-local-mode=nodeCIDR"],
                "KubeProxyConfiguration.DetectLocalMode: Unsupported value: \"nodeCIDR\": supported values: \"ClusterCIDR\", \
                 \"NodeCIDR\", \"BridgeInterface\", \"InterfaceNamePrefix\", \"\""
            ),
        },
        Row {
            flag: "cluster-cidr",
            default: "",
            accepted: &["--cluster-cidr=010.1.2.3/16,fd00::/48"],
            effect: Sets(|c| {
                c.node().detect_local
                    == DetectLocal::ClusterCidr(vec![
                        "10.1.0.0/16".parse().unwrap(),
                        "fd00::/48".parse().unwrap(),
                    ])
            }),
            refused: refused!(
                ["--cluster-cidr=10.0.0.0/8,"],
                "KubeProxyConfiguration.DetectLocalConfiguration.ClusterCIDRs[1]: Invalid value: \"\": must be a valid CIDR block \
                 (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)"
            ),
        },
        Row {
            flag: "pod-bridge-interface",
            default: "",
            accepted: &["--pod-bridge-interface=cni0+", "--detect-local-mode=BridgeInterface"],
            effect: Sets(|c| c.node().detect_local == DetectLocal::BridgeInterface("cni0+".into())),
            refused: refused!(
                ["--detect-local-mode=BridgeInterface"],
                "KubeProxyConfiguration.DetectLocalConfiguration.InterfaceName: Invalid value: \"\": must not be empty"
            ),
        },
        Row {
            flag: "pod-interface-name-prefix",
            default: "",
            accepted: &["--pod-interface-name-prefix=veth", "--detect-local-mode=InterfaceNamePrefix"],
            effect: Sets(|c| c.node().detect_local == DetectLocal::InterfaceNamePrefix("veth".into())),
            refused: refused!(
                ["--detect-local-mode=InterfaceNamePrefix"],
                "KubeProxyConfiguration.DetectLocalConfiguration.InterfacePrefix: Invalid value: \"\": must not be empty"
            ),
        },
        Row {
            flag: "nodeport-addresses",
            default: "[]",
            accepted: &["--nodeport-addresses=primary"],
            effect: Sets(|c| c.node().node_port_addresses == NodePortSelection::Primary),
            refused: refused!(
                ["--nodeport-addresses=10.0.0.0/8", "--nodeport-addresses=primary"],
                "KubeProxyConfiguration.NodePortAddresses[1]: Invalid value: \"primary\": can't use both 'primary' and CIDRs"
            ),
        },
        Row {
            flag: "oom-score-adj",
            default: "-999",
            accepted: &["--oom-score-adj=-500"],
            effect: Sets(|c| c.oom_score_adj == -500),
            refused: refused!(
                ["--oom-score-adj=-1001"],
                "KubeProxyConfiguration.KubeProxyLinuxConfiguration.OOMScoreAdj: Invalid value: -1001: must be within the range [-1000, 1000]"
            ),
        },
    ]
}

fn conntrack() -> Vec<Row> {
    vec![
        Row {
            flag: "conntrack-max-per-core",
            default: "32768",
            accepted: &["--conntrack-max-per-core=0"],
            effect: Sets(|c| c.conntrack.max_per_core == 0),
            refused: refused!(
                ["--conntrack-max-per-core=-1"],
                "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.MaxPerCore: Invalid value: -1: \
                 must be greater than or equal to 0"
            ),
        },
        Row {
            flag: "conntrack-min",
            default: "131072",
            accepted: &["--conntrack-min=1_000"],
            effect: Sets(|c| c.conntrack.min == 1000),
            refused: refused!(
                ["--conntrack-min=2147483648"],
                "invalid value \"2147483648\" for --conntrack-min: not a whole number from -2147483648 to 2147483647"
            ),
        },
        Row {
            flag: "conntrack-tcp-timeout-established",
            default: "24h0m0s",
            accepted: &["--conntrack-tcp-timeout-established=0"],
            effect: Sets(|c| c.conntrack.tcp_established_timeout == Duration::ZERO),
            refused: refused!(
                ["--conntrack-tcp-timeout-established=-1s"],
                "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.TCPEstablishedTimeout: \
                 Invalid value: -1s: must be greater than or equal to 0"
            ),
        },
        Row {
            flag: "conntrack-tcp-timeout-close-wait",
            default: "1h0m0s",
            accepted: &["--conntrack-tcp-timeout-close-wait=10m"],
            effect: Sets(|c| c.conntrack.tcp_close_wait_timeout == seconds(600)),
            refused: refused!(
                ["--conntrack-tcp-timeout-close-wait=-1s"],
                "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.TCPCloseWaitTimeout: \
                 Invalid value: -1s: must be greater than or equal to 0"
            ),
        },
        Row {
            flag: "conntrack-tcp-be-liberal",
            default: "false",
            accepted: &["--conntrack-tcp-be-liberal"],
            effect: Sets(|c| c.conntrack.tcp_be_liberal),
            refused: refused!(
                ["--conntrack-tcp-be-liberal=x"],
                "invalid value \"x\" for --conntrack-tcp-be-liberal: not one of true, false, 1, 0, t, f"
            ),
        },
        Row {
            flag: "conntrack-udp-timeout",
            default: "0s",
            accepted: &["--conntrack-udp-timeout=30s"],
            effect: Sets(|c| c.conntrack.udp_timeout == seconds(30)),
            refused: refused!(
                ["--conntrack-udp-timeout=-1s"],
                "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.UDPTimeout: \
                 Invalid value: -1s: must be greater than or equal to 0"
            ),
        },
        Row {
            flag: "conntrack-udp-timeout-stream",
            default: "0s",
            accepted: &["--conntrack-udp-timeout-stream=3m"],
            effect: Sets(|c| c.conntrack.udp_stream_timeout == seconds(180)),
            refused: refused!(
                ["--conntrack-udp-timeout-stream=-1s"],
                "KubeProxyConfiguration.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration.UDPStreamTimeout: \
                 Invalid value: -1s: must be greater than or equal to 0"
            ),
        },
    ]
}

fn servers() -> Vec<Row> {
    vec![
        Row {
            flag: "healthz-bind-address",
            default: "0.0.0.0:10256",
            accepted: &["--healthz-bind-address=::"],
            effect: Sets(|c| c.healthz_address == Some(address("[::]:10256"))),
            refused: refused!(
                ["--healthz-bind-address=0.0.0.0:0"],
                "invalid value \"0.0.0.0:0\" for --healthz-bind-address: not an IP address, or IP:port with a port from 1 to 65535"
            ),
        },
        Row {
            flag: "metrics-bind-address",
            default: "127.0.0.1:10249",
            accepted: &["--metrics-bind-address=0.0.0.0:9"],
            effect: Sets(|c| c.metrics_address == address("0.0.0.0:9")),
            refused: refused!(
                ["--metrics-bind-address=localhost:80"],
                "invalid value \"localhost:80\" for --metrics-bind-address: not an IP address, or IP:port with a port from 1 to 65535"
            ),
        },
        Row {
            flag: "bind-address-hard-fail",
            default: "false",
            accepted: &["--bind-address-hard-fail"],
            effect: Sets(|c| c.bind_address_hard_fail),
            refused: refused!(
                ["--bind-address-hard-fail=x"],
                "invalid value \"x\" for --bind-address-hard-fail: not one of true, false, 1, 0, t, f"
            ),
        },
        Row {
            flag: "profiling",
            default: "false",
            accepted: &["--profiling"],
            effect: Sets(|c| c.profiling),
            refused: refused!(
                ["--profiling=x"],
                "invalid value \"x\" for --profiling: not one of true, false, 1, 0, t, f"
            ),
        },
        Row {
            flag: "show-hidden-metrics-for-version",
            default: "",
            accepted: &["--show-hidden-metrics-for-version=1.35"],
            effect: Notes("--show-hidden-metrics-for-version: no metric is hidden here"),
            refused: refused!(
                ["--show-hidden-metrics-for-version=1.34"],
                "KubeProxyConfiguration.ShowHiddenMetricsForVersion: Invalid value: \"1.34\": must be omitted or have the value '1.35'"
            ),
        },
        Row {
            flag: "healthz-port",
            default: "10256",
            accepted: &["--healthz-port=0"],
            effect: Sets(|c| c.healthz_address.is_none()),
            refused: refused!(
                ["--healthz-port=70000", "--healthz-bind-address=0.0.0.0"],
                "KubeProxyConfiguration.HealthzBindAddress: Invalid value: \"70000\": must be a valid port"
            ),
        },
        Row {
            flag: "metrics-port",
            default: "10249",
            accepted: &["--metrics-port=9", "--metrics-bind-address=127.0.0.1"],
            effect: Sets(|c| c.metrics_address == address("127.0.0.1:9")),
            refused: refused!(
                ["--metrics-port=0"],
                "KubeProxyConfiguration.MetricsBindAddress: Invalid value: \"\": must be IP:port"
            ),
        },
    ]
}

fn logging() -> Vec<Row> {
    vec![
        Row {
            flag: "v",
            default: "0",
            accepted: &["--v=2"],
            effect: Sets(|c| c.logging.verbosity == 2),
            refused: refused!(
                ["-v=2147483648"],
                "invalid value \"2147483648\" for -v: not a number from 0 to 2147483647"
            ),
        },
        Row {
            flag: "vmodule",
            default: "",
            accepted: &["--vmodule=proxier=4"],
            effect: Notes("--vmodule: verbosity is one for the whole process"),
            refused: refused!(
                ["--vmodule=x"],
                "invalid value \"x\" for --vmodule: not a list such as file=1,other*=2"
            ),
        },
        Row {
            flag: "logging-format",
            default: "text",
            accepted: &["--logging-format=json"],
            effect: Sets(|c| c.logging.format == LogFormat::Json),
            refused: refused!(
                ["--logging-format=xml"],
                "KubeProxyConfiguration.logging.format: Invalid value: \"xml\": Unsupported log format"
            ),
        },
        Row {
            flag: "log-flush-frequency",
            default: "5s",
            accepted: &["--log-flush-frequency=1s"],
            effect: Notes("--log-flush-frequency: log lines are written at once, there is no buffer"),
            refused: refused!(
                ["--log-flush-frequency=0"],
                "KubeProxyConfiguration.logging.flushFrequency: Invalid value: 0s: must be greater than 0"
            ),
        },
        Row {
            flag: "log-text-split-stream",
            default: "false",
            accepted: &["--log-text-split-stream", "--feature-gates=LoggingAlphaOptions=true"],
            effect: Sets(|c| c.logging.split_stream),
            refused: refused!(
                ["--log-text-split-stream"],
                "KubeProxyConfiguration.logging.options.text.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled"
            ),
        },
        Row {
            flag: "log-json-split-stream",
            default: "false",
            accepted: &["--log-json-split-stream", "--logging-format=json", "--feature-gates=AllAlpha=true"],
            effect: Sets(|c| c.logging.split_stream),
            refused: refused!(
                ["--log-json-split-stream"],
                "KubeProxyConfiguration.logging.options.json.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled"
            ),
        },
        Row {
            flag: "log-text-info-buffer-size",
            default: "0",
            accepted: &["--log-text-info-buffer-size=1Ki", "--feature-gates=LoggingAlphaOptions=true"],
            effect: Notes("--log-text-info-buffer-size: log lines are written at once, there is no buffer"),
            refused: refused!(
                ["--log-text-info-buffer-size=many"],
                "invalid value \"many\" for --log-text-info-buffer-size: not a quantity such as 512, 1Ki or 3M"
            ),
        },
        Row {
            flag: "log-json-info-buffer-size",
            default: "0",
            accepted: &["--log-json-info-buffer-size=512", "--feature-gates=LoggingAlphaOptions=true"],
            effect: Notes("--log-json-info-buffer-size: log lines are written at once, there is no buffer"),
            refused: refused!(
                ["--log-json-info-buffer-size=1Ki"],
                "KubeProxyConfiguration.logging.options.json.infoBufferSize: Forbidden: Feature LoggingAlphaOptions is disabled"
            ),
        },
        Row {
            flag: "boot-id-file",
            default: "/proc/sys/kernel/random/boot_id",
            accepted: &["--boot-id-file=/x"],
            effect: Notes("--boot-id-file: boots are not told apart, no such file is read"),
            refused: None,
        },
        Row {
            flag: "machine-id-file",
            default: "/etc/machine-id,/var/lib/dbus/machine-id",
            accepted: &["--machine-id-file=/x"],
            effect: Notes("--machine-id-file: machines are not told apart, no such file is read"),
            refused: None,
        },
    ]
}

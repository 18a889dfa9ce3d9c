//! Flags that are followed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portolan_core::ProxyMode;
use portolan_core::node::{DetectLocal, NodePortSelection};

use super::*;

fn api(kubeconfig: Option<&str>, master: Option<&str>) -> Source {
    Source::Api(ApiAccess { kubeconfig: kubeconfig.map(PathBuf::from), master: master.map(str::to_owned) })
}

fn explicit(mode: &'static str) -> ModeSelection {
    ModeSelection::Explicit(ProxyMode::new(mode))
}

fn cidrs(texts: &[&str]) -> NodePortSelection {
    NodePortSelection::Cidrs(texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// What the configuration should be like.
type Check = fn(&Config) -> bool;

fn sync(config: &Config, min_millis: u64, max_millis: u64) -> bool {
    config.sync
        == SyncPeriods { min: Duration::from_millis(min_millis), max: Duration::from_millis(max_millis) }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn node_ports(config: &Config) -> NodePortSelection {
    config.node(&ProxyMode::NFTABLES).node_port_addresses
}

fn mark(config: &Config, mode: &ProxyMode) -> u32 {
    config.node(mode).masquerade_mark
}

fn detect_local(config: &Config) -> DetectLocal {
    config.node(&ProxyMode::NFTABLES).detect_local
}

fn cluster_cidrs(config: &Config) -> Vec<String> {
    match detect_local(config) {
        DetectLocal::ClusterCidr(cidrs) => cidrs.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

const ACCEPTED: [(&[&str], Check); 63] = [
    (&["--manifests", "/etc/m"], |c| c.source == Source::Manifests("/etc/m".into())),
    (&["--manifests=/etc/m"], |c| c.source == Source::Manifests("/etc/m".into())),
    (&["--manifests="], |c| c.source == api(None, None)),
    (&["--kubeconfig", "/k"], |c| c.source == api(Some("/k"), None)),
    (&["--master", "http://[::1]:8080"], |c| c.source == api(None, Some("http://[::1]:8080"))),
    (&["--master=u", "--kubeconfig=k"], |c| c.source == api(Some("k"), Some("u"))),
    (&["--master=--odd"], |c| c.source == api(None, Some("--odd"))),
    (&["--master", "--odd"], |c| c.source == api(None, Some("--odd"))),
    (&["--master", "a=b"], |c| c.source == api(None, Some("a=b"))),
    (&["--master=a=b"], |c| c.source == api(None, Some("a=b"))),
    (&[], |c| c.source == api(None, None)),
    (&[""], |c| c.source == api(None, None)),
    (&[], |c| c.mode == ModeSelection::Auto),
    (&["--mode=auto"], |c| c.mode == ModeSelection::Auto),
    (&["--mode", "nftables"], |c| c.mode == explicit("nftables")),
    (&["--proxy-mode=ipvs"], |c| c.mode == explicit("ipvs")),
    (&["--proxy_mode=ipvs", "--mode=mine"], |c| c.mode == explicit("mine")),
    (&[], |c| &*c.node(&ProxyMode::NFTABLES).node_name == "host-1"),
    (&["--hostname-override", " Node-7 "], |c| &*c.node(&ProxyMode::IPVS).node_name == "node-7"),
    (&["--hostname-override="], |c| &*c.node(&ProxyMode::NFTABLES).node_name == "host-1"),
    (&[], |c| cluster_cidrs(c).is_empty()),
    (&["--cluster-cidr=10.0.0.0/8"], |c| cluster_cidrs(c) == ["10.0.0.0/8"]),
    (&["--cluster-cidr", "fd00::/48,010.1.2.3/16"], |c| cluster_cidrs(c) == ["fd00::/48", "10.1.0.0/16"]),
    (&["--cluster-cidr=bad", "--cluster-cidr=10.0.0.0/8"], |c| cluster_cidrs(c) == ["10.0.0.0/8"]),
    (&["--detect-local-mode="], |c| cluster_cidrs(c).is_empty()),
    (&["--detect-local-mode=ClusterCIDR", "--cluster-cidr=10.0.0.0/8"], |c| {
        cluster_cidrs(c) == ["10.0.0.0/8"]
    }),
    (&["--pod-bridge-interface=an-interface-too-long"], |c| cluster_cidrs(c).is_empty()),
    (&["--detect-local-mode", "NodeCIDR"], |c| detect_local(c) == DetectLocal::NodeCidr),
    (&["--detect_local_mode=NodeCIDR", "--cluster-cidr=bad"], |c| detect_local(c) == DetectLocal::NodeCidr),
    (&["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0+"], |c| {
        detect_local(c) == DetectLocal::BridgeInterface("cni0+".into())
    }),
    (&["--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix", "veth"], |c| {
        detect_local(c) == DetectLocal::InterfaceNamePrefix("veth".into())
    }),
    (&["--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=fifteen-bytes-l"], |c| {
        detect_local(c) == DetectLocal::InterfaceNamePrefix("fifteen-bytes-l".into())
    }),
    (&[], |c| node_ports(c) == NodePortSelection::Primary),
    (&[], |c| c.node(&ProxyMode::IPTABLES).node_port_addresses == cidrs(&[])),
    (&["--nodeport-addresses=primary"], |c| {
        c.node(&ProxyMode::IPTABLES).node_port_addresses == NodePortSelection::Primary
    }),
    (&["--nodeport-addresses", "10.0.0.0/8,fd00::/8"], |c| {
        node_ports(c) == cidrs(&["10.0.0.0/8", "fd00::/8"])
    }),
    (&["--nodeport-addresses=10.0.0.0/8", "--nodeport_addresses", "192.0.2.1/32"], |c| {
        node_ports(c) == cidrs(&["10.0.0.0/8", "192.0.2.1/32"])
    }),
    (&["--nodeport-addresses="], |c| node_ports(c) == NodePortSelection::Primary),
    (&[], |c| !c.node(&ProxyMode::NFTABLES).masquerade_all),
    (&["--masquerade-all"], |c| c.node(&ProxyMode::NFTABLES).masquerade_all),
    (&["--masquerade_all=T"], |c| c.node(&ProxyMode::NFTABLES).masquerade_all),
    (&["--masquerade-all=1", "--masquerade-all=f"], |c| !c.node(&ProxyMode::NFTABLES).masquerade_all),
    (&[], |c| mark(c, &ProxyMode::NFTABLES) == 0x4000 && mark(c, &ProxyMode::IPTABLES) == 0x4000),
    (&["--iptables-masquerade-bit=0"], |c| mark(c, &ProxyMode::IPTABLES) == 1),
    (&["--iptables-masquerade-bit", "31"], |c| mark(c, &ProxyMode::IPVS) == 0x8000_0000),
    (&["--iptables-masquerade-bit=5"], |c| mark(c, &ProxyMode::NFTABLES) == 0x4000),
    (&["--iptables-masquerade-bit=5"], |c| mark(c, &ProxyMode::new("mine")) == 0x4000),
    (&[], |c| sync(c, 0, 30_000)),
    (&["--iptables-min-sync-period=1.5s"], |c| sync(c, 1_500, 30_000)),
    (&["--iptables-sync-period", "1m30s"], |c| sync(c, 0, 90_000)),
    (&["--iptables-min-sync-period=1m", "--iptables-sync-period=1m"], |c| sync(c, 60_000, 60_000)),
    (&[], |c| c.metrics_address == address("127.0.0.1:10249")),
    (&["--metrics-bind-address=0.0.0.0"], |c| c.metrics_address == address("0.0.0.0:10249")),
    (&["--metrics-bind-address", "[::1]:9"], |c| c.metrics_address == address("[::1]:9")),
    (&[], |c| c.healthz_address == address("0.0.0.0:10256")),
    (&["--healthz-bind-address", "::"], |c| c.healthz_address == address("[::]:10256")),
    (&["--healthz-bind-address="], |c| c.healthz_address == address("0.0.0.0:10256")),
    (&[], |c| c.logging == Logging { verbosity: 0, format: LogFormat::Text }),
    (&["-v2"], |c| c.logging.verbosity == 2),
    (&["-v=3", "-v", "4"], |c| c.logging.verbosity == 4),
    (&["--v=5"], |c| c.logging.verbosity == 5),
    (&["--logging-format=json"], |c| c.logging.format == LogFormat::Json),
    (&["--cleanup=false", "--version=0", "--help=F"], |c| c.mode == ModeSelection::Auto),
];

#[test]
fn accepted_flags_give_the_configuration() {
    for (args, check) in ACCEPTED {
        let config = config(args);
        assert!(check(&config), "{args:?} gave {config:#?}");
    }
}

#[test]
fn every_flag_is_in_the_table_of_accepted_ones() {
    let tried: BTreeSet<String> = ACCEPTED
        .iter()
        .flat_map(|(args, _)| args.iter())
        .filter_map(|arg| arg.strip_prefix("--"))
        .map(|arg| arg.split('=').next().unwrap_or_default().replace('_', "-"))
        .collect();
    let missing: Vec<_> =
        FLAGS.iter().flat_map(|flag| flag.names).filter(|name| !tried.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

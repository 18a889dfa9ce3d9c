//! A few clusters with a Service of every kind; their rulesets are kept as the programs would read them.

use std::time::Duration;

use portolan_backend_iptables::options::Counters;
use portolan_core::IpFamily;
use portolan_core::Protocol::{Sctp, Tcp, Udp};
use portolan_core::event::{Change, Event};
use portolan_core::node::{DetectLocal, NodeConfig, NodePortSelection};
use portolan_testkit::objects::{node, service, slice};
use portolan_testkit::world;

use super::*;

/// What a ruleset is made of.
pub(crate) struct Cluster {
    pub(crate) config: NodeConfig,
    pub(crate) options: Options,
    pub(crate) is_large: bool,
    pub(crate) events: Vec<Event>,
}

impl Cluster {
    /// On a node that detects pods by their address and serves node ports on all of its addresses.
    fn of(events: Vec<Event>) -> Self {
        let config =
            NodeConfig { node_port_addresses: NodePortSelection::Cidrs(Vec::new()), ..world::config() };
        Self { config, options: Options::default(), is_large: false, events }
    }

    /// The input for each family.
    pub(crate) fn inputs(&self) -> [(IpFamily, String); 2] {
        let state = state(self.config.clone(), self.events.iter().cloned());
        IpFamily::ALL.map(|family| {
            let plan = state.plan(family);
            let cx = Context { is_large: self.is_large, ..context(plan, &self.options) };
            (family, input(&cx, plan))
        })
    }
}

/// Every cluster by the name of its goldens.
pub(crate) fn all() -> Vec<(&'static str, Cluster)> {
    vec![
        ("nothing", nothing()),
        ("every-kind", Cluster::of(every_kind())),
        ("policies", Cluster::of(policies())),
        ("policies-by-interface", by_interface()),
        ("affinity", Cluster::of(affinity())),
        ("affinity-in-a-large-cluster", Cluster { is_large: true, ..Cluster::of(affinity()) }),
        ("masquerade-all", masquerade_all()),
        ("other-host", other_host()),
    ]
}

#[test]
fn rulesets_are_as_they_were_read() {
    // A kernel turns down rules that name a counter which it lacks, so the last is only to be read.
    for (name, cluster) in all().into_iter().chain([("counted", counted())]) {
        for (family, input) in cluster.inputs() {
            assert_golden(&format!("{name}.{}.rules", family.to_string().to_lowercase()), &input);
        }
    }
}

/// No Service, and no detection of pods.
fn nothing() -> Cluster {
    let mut nothing = Cluster::of(Vec::new());
    nothing.config.detect_local = DetectLocal::ClusterCidr(Vec::new());
    nothing
}

/// All protocols, families and kinds of addresses; among them the Services whose chains kube-proxy's names
/// are known of.
fn every_kind() -> Vec<Event> {
    vec![
        service("default/kubernetes", "10.96.0.1").port("https", Tcp, 443).applied(),
        slice("default/kubernetes", "kubernetes").port("https", Tcp, 6443).anywhere("192.168.1.10").applied(),
        service("kube-system/kube-dns", "10.96.0.10,fd00:10:96::a")
            .port("dns", Udp, 53)
            .port("dns-tcp", Tcp, 53)
            .applied(),
        slice("kube-system/kube-dns-4", "kube-dns")
            .port("dns", Udp, 53)
            .port("dns-tcp", Tcp, 53)
            .on("n1", "10.244.0.5")
            .on("n2", "10.244.2.2")
            .applied(),
        slice("kube-system/kube-dns-6", "kube-dns")
            .port("dns", Udp, 53)
            .port("dns-tcp", Tcp, 53)
            .on("n1", "fd00:10:244::2")
            .applied(),
        service("ns1/svc1", "10.96.4.4").port("p80", Tcp, 80).applied(),
        slice("ns1/svc1-4", "svc1").port("p80", Tcp, 80).on("n2", "10.180.0.1").applied(),
        service("default/web", "10.96.7.7,fd00:10:96::77")
            .port("", Tcp, 80)
            .node_port(30080)
            .load_balancer_ip("203.0.113.7")
            .load_balancer_ip("203.0.113.6")
            .external_ip("198.51.100.7")
            .external_ip("2001:db8:113::7")
            .applied(),
        slice("default/web-4", "web")
            .port("", Tcp, 8080)
            .on("n2", "10.244.2.7")
            .on("n3", "10.244.2.77")
            .on("n3", "10.244.3.8")
            .applied(),
        slice("default/web-6", "web").port("", Tcp, 8080).on("n1", "fd00:10:244::5").applied(),
        service("shop/signalling", "10.96.8.8").port("diameter", Sctp, 3868).node_port(30868).applied(),
        slice("shop/signalling-1", "signalling")
            .port("diameter", Sctp, 3868)
            .on("n2", "10.244.2.8")
            .applied(),
        service("shop/empty", "10.96.9.9,fd00:10:96::99")
            .port("m3ua", Sctp, 2905)
            .node_port(30905)
            .load_balancer_ip("203.0.113.9")
            .external_ip("2001:db8:113::9")
            .source_range("192.0.2.0/24")
            .applied(),
    ]
}

/// Both policies, with endpoints here, elsewhere only, and nowhere.
fn policies() -> Vec<Event> {
    let pods = |name: &str, nodes: &[&str]| {
        let bare = slice(&format!("shop/{name}-1"), name).port("", Tcp, 8080);
        let addresses = ["10.244.1.1", "10.244.2.1", "10.244.2.2"];
        nodes.iter().zip(addresses).fold(bare, |slice, (node, address)| slice.on(node, address)).applied()
    };
    vec![
        service("shop/inner", "10.96.1.1").port("", Tcp, 80).internal_local().applied(),
        pods("inner", &["n1", "n2"]),
        service("shop/inner-elsewhere", "10.96.1.2").port("", Tcp, 80).internal_local().applied(),
        pods("inner-elsewhere", &["n2"]),
        service("shop/outer", "10.96.1.3")
            .port("", Tcp, 80)
            .node_port(30083)
            .load_balancer_ip("203.0.113.3")
            .external_ip("198.51.100.3")
            .external_local()
            .health_check_node_port(30003)
            .applied(),
        pods("outer", &["n1", "n2", "n2"]),
        service("shop/outer-elsewhere", "10.96.1.4")
            .port("", Tcp, 80)
            .node_port(30084)
            .load_balancer_ip("203.0.113.4")
            .external_ip("198.51.100.4")
            .source_range("192.0.2.0/24")
            .external_local()
            .health_check_node_port(30004)
            .applied(),
        pods("outer-elsewhere", &["n2"]),
        service("shop/both", "10.96.1.5")
            .port("", Tcp, 80)
            .node_port(30085)
            .internal_local()
            .external_local()
            .applied(),
        pods("both", &["n1", "n2"]),
        service("shop/nowhere", "10.96.1.6")
            .port("", Tcp, 80)
            .node_port(30086)
            .load_balancer_ip("203.0.113.6")
            .internal_local()
            .external_local()
            .health_check_node_port(30006)
            .applied(),
    ]
}

/// The same where pods are detected by the interface that they send through.
fn by_interface() -> Cluster {
    let mut cluster = Cluster::of(policies());
    cluster.config.detect_local = DetectLocal::InterfaceNamePrefix("veth".into());
    cluster
}

/// Clients that come back, and load-balancer addresses that not every client may use.
fn affinity() -> Vec<Event> {
    let three_hours = Duration::from_secs(10_800);
    vec![
        service("shop/cart", "10.96.2.1,fd00:10:96::21")
            .port("http", Tcp, 80)
            .node_port(30080)
            .load_balancer_ip("203.0.113.1")
            .load_balancer_ip("2001:db8:113::1")
            .source_range("198.51.100.0/24")
            .source_range("192.0.2.0/28")
            .source_range("2001:db8:51::/48")
            .affinity(three_hours)
            .external_local()
            .applied(),
        slice("shop/cart-4", "cart")
            .port("http", Tcp, 8080)
            .on("n1", "10.244.1.1")
            .on("n2", "10.244.2.1")
            .applied(),
        slice("shop/cart-old", "cart").port("http", Tcp, 8081).on("n2", "10.244.2.2").applied(),
        slice("shop/cart-6", "cart").port("http", Tcp, 8080).on("n1", "fd00:10:244::1").applied(),
        service("shop/game", "10.96.2.2")
            .port("", Udp, 9000)
            .affinity(three_hours)
            .internal_local()
            .applied(),
        slice("shop/game-1", "game").port("", Udp, 9000).on("n1", "10.244.1.2").applied(),
        Event::Node(Change::Applied(node(world::THIS_NODE, &["192.0.2.1", "2001:db8:2::1"]))),
    ]
}

/// `masqueradeAll`, with another mark.
fn masquerade_all() -> Cluster {
    let mut cluster = Cluster::of(every_kind());
    cluster.config.masquerade_all = true;
    cluster.config.masquerade_mark = 1 << 5;
    cluster
}

/// A host with counters of nfacct.
fn counted() -> Cluster {
    let counters = Counters { invalid_dropped: true, localhost_accepted: true };
    let service = service("default/web", "10.96.7.7,fd00:10:96::77").port("", Tcp, 80).node_port(30080);
    let v4 = slice("default/web-4", "web").port("", Tcp, 8080).on("n2", "10.244.2.7");
    let v6 = slice("default/web-6", "web").port("", Tcp, 8080).on("n1", "fd00:10:244::5");
    let cluster = Cluster::of(vec![service.applied(), v4.applied(), v6.applied()]);
    Cluster { options: Options { counters, ..Options::default() }, ..cluster }
}

/// Node ports on chosen addresses, all of IPv4's loopback among them and yet not answering; a host whose
/// connection tracking is liberal and whose iptables is old; and a bridge for the pods.
fn other_host() -> Cluster {
    let mut cluster = Cluster::of(every_kind());
    let ranges = ["126.0.0.0/7", "192.0.2.0/24", "192.0.2.1/32", "::1/128", "2001:db8:2::1/128"];
    cluster.config.node_port_addresses =
        NodePortSelection::Cidrs(ranges.iter().map(|range| range.parse().unwrap()).collect());
    cluster.config.detect_local = DetectLocal::BridgeInterface("cni0".into());
    cluster.options = Options {
        localhost_node_ports: false,
        drop_invalid: false,
        random_fully: false,
        ..Options::default()
    };
    cluster
}

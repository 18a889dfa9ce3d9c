//! Compared with rulesets of kube-proxy for the same Services.

use portolan_core::Protocol::{Tcp, Udp};
use portolan_core::node::{DetectLocal, NodePortSelection};
use portolan_core::{IpFamily, Protocol};
use portolan_testkit::netns::{POD_CIDR_V4, POD_CIDR_V6};
use portolan_testkit::objects::{service, slice};
use portolan_testkit::upstream;

use super::read::{Ruleset, ruleset};
use super::*;

/// Name, port's name, protocol, cluster IP, port, node port and endpoints of a Service, the latter in the
/// order of their text.
type Told = (&'static str, &'static str, Protocol, &'static str, u16, Option<u16>, &'static [&'static str]);

const SERVICES: [Told; 6] = [
    (
        "default/many",
        "p",
        Tcp,
        "10.96.0.12",
        443,
        Some(30443),
        &["10.244.0.3:443", "10.244.0.4:443", "10.244.0.5:443", "10.244.0.6:443", "10.244.0.7:443"],
    ),
    ("default/none", "", Tcp, "10.96.0.11", 80, None, &[]),
    ("default/none", "six", Tcp, "fd00:10:96::11", 80, None, &[]),
    ("default/web", "", Tcp, "10.96.0.10", 80, Some(30080), &["10.244.0.102:8080", "10.244.0.11:8080"]),
    ("default/web", "http", Tcp, "fd00:10:96::10", 80, Some(30080), &["[fd00:10:244::11]:8080"]),
    ("kube-system/kube-dns", "dns", Udp, "10.96.0.2", 53, None, &["10.244.0.11:53"]),
];

/// The input that testkit writes.
fn theirs(family: IpFamily) -> String {
    let services = SERVICES.map(|(name, port_name, protocol, ip, port, node_port, endpoints)| {
        let vip = std::net::SocketAddr::new(ip.parse().unwrap(), port).to_string();
        let bare = upstream::Service::new(name, &vip).port_name(port_name).protocol(protocol);
        let service = endpoints.iter().fold(bare, |service, at| service.endpoint(at));
        node_port.into_iter().fold(service, upstream::Service::node_port)
    });
    upstream::iptables::ruleset(family, &services)
}

/// The input that we write.
fn ours(family: IpFamily) -> String {
    let mut events = Vec::new();
    let of_family =
        SERVICES.into_iter().filter(|(_, _, _, ip, ..)| IpFamily::of(ip.parse().unwrap()) == family);
    for (name, port_name, protocol, ip, port, node_port, endpoints) in of_family {
        let bare = service(name, ip).port(port_name, protocol, port);
        let owner = name.split_once('/').unwrap().1;
        events.push(
            node_port.into_iter().fold(bare, portolan_testkit::objects::ServiceBuilder::node_port).applied(),
        );
        for (number, endpoint) in endpoints.iter().enumerate() {
            let endpoint: std::net::SocketAddr = endpoint.parse().unwrap();
            let slice = slice(&format!("{name}-{number}"), owner).port(port_name, protocol, endpoint.port());
            events.push(slice.on("n2", &endpoint.ip().to_string()).applied());
        }
    }
    let pods = [POD_CIDR_V4, POD_CIDR_V6].map(|cidr| cidr.parse().unwrap());
    let config = NodeConfig {
        detect_local: DetectLocal::ClusterCidr(pods.into()),
        node_port_addresses: NodePortSelection::Cidrs(Vec::new()),
        ..NodeConfig::new("n1")
    };
    let state = state(config, events);
    let plan = state.plan(family);
    input(&context(plan, &Options::default()), plan)
}

/// The chain that the kubelet keeps, too, which testkit leaves to it.
const SHARED: &str = "KUBE-FIREWALL";

#[test]
fn ours_are_the_rules_of_kube_proxy() {
    for family in IpFamily::ALL {
        let without_shared =
            ours(family).lines().filter(|line| !line.contains(SHARED)).collect::<Vec<_>>().join("\n");
        let (ours, theirs) = (ruleset(&without_shared), ruleset(&theirs(family)));
        assert_same(&ours, &theirs, &family.to_string());
    }
}

#[test]
fn the_chain_beside_the_kubelet_is_the_kubelets() {
    let family = IpFamily::V4;
    let kubelets: String = upstream::kubelet::ruleset(family)
        .lines()
        .filter(|line| line.starts_with('*') || line.contains(SHARED))
        .collect::<Vec<_>>()
        .join("\n");
    let (mut ours, mut kubelets) = (ruleset(&ours(family)), ruleset(&kubelets));
    let shared = ("filter".to_owned(), SHARED.to_owned());
    assert_eq!(ours.remove(&shared), kubelets.remove(&shared));
}

/// Asserts that every chain is the same, naming those that are not.
#[track_caller]
pub(crate) fn assert_same(left: &Ruleset, right: &Ruleset, what: &str) {
    for chain in left.keys().chain(right.keys()) {
        assert_eq!(left.get(chain), right.get(chain), "{what}: {chain:?}");
    }
}

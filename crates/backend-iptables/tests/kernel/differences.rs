//! Where kube-proxy's rules, and so ours, do otherwise than the scenario table says.

use std::io::ErrorKind;
use std::time::Duration;

use portolan_backend_iptables::programs::Variant;
use portolan_core::Protocol;
use portolan_core::event::Event;
use portolan_core::node::{NodeConfig, NodePortSelection};
use portolan_testkit::netns::{Caller, EchoServer, NODE_V4, NODE_WORLD_V4, Namespace, Topology};
use portolan_testkit::objects::{node as node_object, service, service_cidr, slice};
use portolan_testkit::shop::{NODE_PORT, POD_PORT, config, web, web_pods};

use crate::node::Node;

/// More than a second, after which a connection's first packet is sent again: one gets lost now and then on a
/// machine with more to do than it can.
const PATIENCE: Duration = Duration::from_millis(2500);

/// What becomes of a connection: who answers, or how it fails.
fn met(from: &Namespace, to: &str) -> Result<String, ErrorKind> {
    let answer = Caller::from(from).with_patience(PATIENCE).connect_tcp(to.parse().unwrap());
    answer.map(|answer| answer.pod).map_err(|error| error.kind())
}

/// A host beyond the node has addresses of the service range and answers what passes unchanged.
fn answer_beyond(net: &Topology, addresses: &[&str], port: u16) -> EchoServer {
    for address in addresses {
        net.world().ip(&format!("addr add {address}/32 dev lo")).unwrap();
    }
    EchoServer::start(net.world(), "beyond", &[port]).unwrap()
}

fn other_ports_and_unallocated_addresses_pass_untouched(variant: Variant) {
    let net = Topology::routed(1).unwrap();
    let _pods = net.serve(&[POD_PORT]).unwrap();
    let _beyond = answer_beyond(&net, &["10.96.0.80", "10.96.0.200"], 81);
    let mut node = Node::new(net.node(), variant, config());
    let cidr: Event = service_cidr("kubernetes", &["10.96.0.0/16"]);
    node.apply([web(), cidr].into_iter().chain(web_pods(&net, &[1])));
    assert_eq!(met(net.client(), "10.96.0.80:80"), Ok("pod1".into()));
    assert_eq!(met(net.client(), "10.96.0.80:81"), Ok("beyond".into()));
    assert_eq!(met(net.client(), "10.96.0.200:81"), Ok("beyond".into()));
}

fn without_endpoints_clients_outside_source_ranges_are_rejected(variant: Variant) {
    let net = Topology::routed(1).unwrap();
    let guarded = service("shop/guarded", "10.96.0.90")
        .port("http", Protocol::Tcp, 80)
        .load_balancer_ip("203.0.113.90")
        .source_range("198.51.100.0/24");
    let mut node = Node::new(net.node(), variant, config());
    node.apply([guarded.applied()]);
    assert_eq!(met(net.client(), "203.0.113.90:80"), Err(ErrorKind::ConnectionRefused));
    let pod = slice("shop/guarded-1", "guarded").port("http", Protocol::Tcp, POD_PORT);
    node.apply([pod.on("n2", "10.244.9.9").applied()]);
    assert_eq!(met(net.client(), "203.0.113.90:80"), Err(ErrorKind::TimedOut));
}

fn node_ports_without_endpoints_reject_at_all_addresses_of_the_node(variant: Variant) {
    let net = Topology::routed(1).unwrap();
    let config = NodeConfig {
        node_port_addresses: NodePortSelection::Cidrs(vec![format!("{NODE_V4}/32").parse().unwrap()]),
        ..config()
    };
    let _itself = EchoServer::start(net.node(), "itself", &[NODE_PORT]).unwrap();
    let mut node = Node::new(net.node(), variant, config);
    let this = node_object(portolan_testkit::shop::NODE, &[&NODE_V4.to_string()]);
    node.apply([web(), Event::Node(portolan_core::event::Change::Applied(this))]);
    for (from, address) in [(net.client(), NODE_V4), (net.world(), NODE_WORLD_V4)] {
        assert_eq!(
            met(from, &format!("{address}:{NODE_PORT}")),
            Err(ErrorKind::ConnectionRefused),
            "{address}"
        );
    }
    node.apply(web_pods(&net, &[1]));
    let answer = met(net.world(), &format!("{NODE_WORLD_V4}:{NODE_PORT}"));
    assert_eq!(answer, Ok("itself".into()), "served nowhere but within the ranges");
}

fn external_addresses_do_not_reject_the_node_itself(variant: Variant) {
    let net = Topology::routed(1).unwrap();
    let _beyond = answer_beyond(&net, &["203.0.113.81"], 80);
    let mut node = Node::new(net.node(), variant, config());
    node.apply([web()]);
    assert_eq!(met(net.client(), "203.0.113.81:80"), Err(ErrorKind::ConnectionRefused));
    assert_eq!(met(net.node(), "203.0.113.81:80"), Ok("beyond".into()));
}

crate::with_both_kinds! {
    other_ports_and_unallocated_addresses_pass_untouched
    without_endpoints_clients_outside_source_ranges_are_rejected
    node_ports_without_endpoints_reject_at_all_addresses_of_the_node
    external_addresses_do_not_reject_the_node_itself
}

//! Whole rulesets as text; `BLESS=1` rewrites them, the diff is for reading.

use std::path::Path;

use portolan_core::Protocol::{Sctp, Tcp, Udp};
use portolan_core::node::DetectLocal;
use portolan_testkit::objects::{node, service, service_cidr, slice};

use super::*;

#[track_caller]
fn assert_golden(name: &str, actual: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    portolan_testkit::golden::assert_golden(&folder.join(name), actual);
}

fn every_kind() -> Vec<Event> {
    vec![
        Event::Node(Change::Applied(node(world::THIS_NODE, &["192.0.2.1", "2001:db8:2::1"]))),
        service("default/kubernetes", "10.96.0.1").port("https", Tcp, 443).applied(),
        slice("default/kubernetes", "kubernetes").port("https", Tcp, 6443).anywhere("192.0.2.100").applied(),
        service("kube-system/kube-dns", "10.96.0.10,fd00:10:96::a")
            .port("dns", Udp, 53)
            .port("dns-tcp", Tcp, 53)
            .applied(),
        slice("kube-system/kube-dns-4", "kube-dns")
            .port("dns", Udp, 53)
            .port("dns-tcp", Tcp, 53)
            .on("n1", "10.244.1.2")
            .on("n2", "10.244.2.2")
            .applied(),
        slice("kube-system/kube-dns-6", "kube-dns")
            .port("dns", Udp, 53)
            .port("dns-tcp", Tcp, 53)
            .on("n1", "fd00:10:244:1::2")
            .applied(),
        service("shop/web", "10.96.7.7,fd00:10:96::77")
            .port("http", Tcp, 80)
            .node_port(30080)
            .load_balancer_ip("203.0.113.7")
            .external_ip("198.51.100.7")
            .external_ip("2001:db8:113::7")
            .applied(),
        slice("shop/web-4", "web")
            .port("http", Tcp, 8080)
            .on("n2", "10.244.2.7")
            .on("n3", "10.244.3.7")
            .on("n3", "10.244.3.8")
            .applied(),
        service("shop/signalling", "10.96.8.8").port("diameter", Sctp, 3868).node_port(30868).applied(),
        slice("shop/signalling-1", "signalling")
            .port("diameter", Sctp, 3868)
            .on("n2", "10.244.2.8")
            .applied(),
        service("shop/empty", "10.96.9.9").port("m3ua", Sctp, 2905).node_port(30905).applied(),
    ]
}

#[test]
fn every_kind_of_service() {
    let mut node = Node::new(config(), every_kind());
    node.apply_all();
    node.assert_serves_the_plan();
    assert_golden("every-kind.nft", &node.tables().to_nft());
}

#[test]
fn services_with_many_addresses() {
    let addresses = |name, ip, first: u8| {
        let bare = service(name, ip).port("http", Tcp, 80);
        (first..first + 5)
            .fold(bare, |service, last| service.external_ip(&format!("203.0.113.{last}")))
            .applied()
    };
    let pods = |name, service| slice(name, service).port("http", Tcp, 8080);
    let events = [
        addresses("shop/cart", "10.96.3.1", 1),
        pods("shop/cart-1", "cart").on("n2", "10.244.2.1").on("n3", "10.244.3.1").applied(),
        addresses("shop/empty", "10.96.3.2", 11),
        service("shop/sticky", "10.96.3.3")
            .port("http", Tcp, 8080)
            .external_local()
            .affinity(std::time::Duration::from_secs(60))
            .load_balancer_ip("198.51.100.1")
            .external_ip("198.51.100.2")
            .external_ip("198.51.100.3")
            .external_ip("198.51.100.4")
            .external_ip("198.51.100.5")
            .applied(),
        pods("shop/sticky-1", "sticky").on("n1", "10.244.1.1").on("n2", "10.244.2.1").applied(),
    ];
    let mut node = Node::new(config(), events);
    node.apply_all();
    node.assert_serves_the_plan();
    assert_golden("addresses.nft", &node.tables().to_nft());
}

#[test]
fn no_services_no_cluster_cidr_node_ports_everywhere() {
    let config = NodeConfig {
        node_port_addresses: NodePortSelection::Cidrs(Vec::new()),
        ..NodeConfig::new(world::THIS_NODE)
    };
    let mut node = Node::new(config, []);
    node.apply_all();
    assert_golden("nothing.nft", &node.tables().to_nft());
}

#[test]
fn masquerade_all_with_another_mark() {
    let config = NodeConfig { masquerade_all: true, masquerade_mark: 1 << 5, ..NodeConfig::new("n1") };
    let mut node = Node::new(config, []);
    node.apply();
    assert_golden("masquerade-all.nft", &node.tables().to_nft());
}

/// Both policies, with and without endpoints here.
fn policies() -> Vec<Event> {
    vec![
        service("shop/inner", "10.96.1.1").port("", Tcp, 80).internal_local().applied(),
        slice("shop/inner-1", "inner")
            .port("", Tcp, 8080)
            .on("n1", "10.244.1.1")
            .on("n2", "10.244.2.1")
            .applied(),
        service("shop/elsewhere", "10.96.1.2").port("", Tcp, 80).internal_local().applied(),
        slice("shop/elsewhere-1", "elsewhere").port("", Tcp, 8080).on("n2", "10.244.2.1").applied(),
        service("shop/outer", "10.96.1.3")
            .port("", Tcp, 80)
            .node_port(30080)
            .load_balancer_ip("203.0.113.1")
            .external_local()
            .applied(),
        slice("shop/outer-1", "outer")
            .port("", Tcp, 8080)
            .on("n1", "10.244.1.1")
            .on("n2", "10.244.2.1")
            .on("n2", "10.244.2.2")
            .applied(),
        service("shop/far", "10.96.1.4").port("", Udp, 53).node_port(30053).external_local().applied(),
        slice("shop/far-1", "far").port("", Udp, 53).on("n2", "10.244.2.1").applied(),
    ]
}

#[test]
fn traffic_policies_and_addresses_of_the_cluster() {
    let mut node = Node::new(config(), policies());
    node.handle([service_cidr("kubernetes", &["10.96.0.0/16", "fd00:10:96::/112"])]);
    node.apply_all();
    node.assert_serves_the_plan();
    assert_golden("policies.nft", &node.tables().to_nft());
}

#[test]
fn traffic_policies_with_local_pods_detected_by_interface() {
    let config = NodeConfig {
        detect_local: DetectLocal::InterfaceNamePrefix("veth".into()),
        ..NodeConfig::new(world::THIS_NODE)
    };
    let mut node = Node::new(config, policies());
    node.apply();
    assert_golden("policies-by-interface.nft", &node.tables().to_nft());
}

#[test]
fn session_affinity_and_source_ranges() {
    let timeout = std::time::Duration::from_secs(10_800);
    let events = [
        service("shop/cart", "10.96.2.1,fd00:10:96::21")
            .port("http", Tcp, 80)
            .node_port(30080)
            .load_balancer_ip("203.0.113.1")
            .load_balancer_ip("2001:db8:113::1")
            .source_range("198.51.100.0/24")
            .source_range("192.0.2.0/28")
            .source_range("2001:db8:51::/48")
            .affinity(timeout)
            .external_local()
            .applied(),
        slice("shop/cart-4", "cart")
            .port("http", Tcp, 8080)
            .on("n1", "10.244.1.1")
            .on("n2", "10.244.2.1")
            .applied(),
        slice("shop/cart-old", "cart").port("http", Tcp, 8081).on("n2", "10.244.2.2").applied(),
        slice("shop/cart-6", "cart").port("http", Tcp, 8080).on("n1", "fd00:10:244:1::1").applied(),
        service("shop/game", "10.96.2.2").port("", Udp, 9000).affinity(timeout).internal_local().applied(),
        slice("shop/game-1", "game").port("", Udp, 9000).on("n1", "10.244.1.2").applied(),
        Event::Node(Change::Applied(node(world::THIS_NODE, &["192.0.2.1", "2001:db8:2::1"]))),
    ];
    let mut node = Node::new(config(), events);
    node.apply_all();
    node.assert_serves_the_plan();
    assert_golden("affinity.nft", &node.tables().to_nft());
}

//! What a packet's way through the table costs, counted, so that it does not grow unnoticed.
//!
//! Services without affinity and source ranges first: what these need is hooked only while they exist.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::Protocol::Tcp;
use portolan_testkit::objects::{node, object_name, service, slice};
use portolan_testkit::trace::{Host, Outcome, Packet, Tracer, Work};

use super::*;

const VIP: &str = "10.96.0.1:80";
const UNSERVED: &str = "10.96.0.2:80";
const POD: &str = "10.244.1.1:8080";
const NODE_PORT: &str = "192.0.2.1:30080";

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn host() -> Host {
    Host::new("eth0")
        .with_address("192.0.2.1".parse().unwrap())
        .with_network("10.244.1.0/24".parse().unwrap(), "veth0")
}

fn plain() -> Node {
    let mut node = Node::new(
        config(),
        [
            service("shop/web", "10.96.0.1").port("", Tcp, 80).node_port(30080).applied(),
            slice("shop/web-1", "web")
                .port("", Tcp, 8080)
                .on("n1", "10.244.1.1")
                .on("n2", "10.244.2.1")
                .applied(),
            service("shop/none", "10.96.0.2").port("", Tcp, 80).applied(),
            Event::Node(Change::Applied(node(world::THIS_NODE, &["192.0.2.1"]))),
        ],
    );
    node.apply_all();
    node
}

/// A pod's packet.
fn from_pod(to: &str) -> Packet {
    Packet::arriving(Tcp, at("10.244.1.9:40000"), at(to))
}

/// The node's own.
fn from_node(to: &str) -> Packet {
    Packet::sent(Tcp, at("192.0.2.1:40000"), at(to))
}

fn costliest(node: &Node, packet: &Packet) -> Outcome {
    let outcomes = Tracer::new(&node.tables(), &host()).trace(packet).unwrap();
    let costliest = outcomes.iter().max_by_key(|outcome| (outcome.work.expressions, outcome.work));
    costliest.unwrap().clone()
}

#[track_caller]
fn assert_costs(node: &Node, packet: &Packet, [base_chains, rules, expressions, lookups]: [u32; 4]) {
    let outcome = costliest(node, packet);
    let work = Work { base_chains, rules, expressions, lookups };
    assert_eq!(outcome.work, work, "{outcome}");
}

#[test]
fn a_new_connection_costs_few_lookups_and_later_packets_one_match() {
    let node = plain();
    for (packet, first) in [
        (from_pod(VIP), [3, 9, 30, 5]),
        (from_pod(POD), [3, 8, 21, 4]),
        (from_pod(NODE_PORT), [3, 9, 37, 6]),
        (from_node(VIP), [3, 8, 31, 4]),
        (from_node(POD), [3, 8, 21, 4]),
    ] {
        assert_costs(&node, &packet, first);
        assert_costs(&node, &packet.established(&costliest(&node, &packet)), [1, 1, 3, 0]);
    }
}

#[test]
fn a_rejection_costs_one_lookup() {
    assert_costs(&plain(), &from_pod(UNSERVED), [1, 3, 8, 1]);
    assert_costs(&plain(), &from_node(UNSERVED), [1, 3, 8, 1]);
}

/// A further base chain for every packet exists only as long as a service needs it.
#[test]
fn chains_for_affinity_and_source_ranges_exist_while_a_service_uses_them() {
    let mut node = plain();
    let chains = |node: &Node| {
        let dump = node.tables().dump(&table(IpFamily::V4)).unwrap().unwrap();
        dump.chains.iter().map(|chain| Arc::clone(&chain.chain.name)).collect::<Vec<_>>()
    };
    let before = chains(&node);
    let guarded = || service("shop/web", "10.96.0.1").port("", Tcp, 80).load_balancer_ip("203.0.113.1");
    let [guarded, sticky] = [
        guarded().source_range("198.51.100.0/24").applied(),
        guarded().source_range("198.51.100.0/24").affinity(Duration::from_secs(60)).applied(),
    ];
    let has = |node: &Node, name: &str| chains(node).iter().any(|chain| &**chain == name);
    for (service, is_learned) in [(guarded.clone(), false), (sticky, true), (guarded, false)] {
        node.handle([service]).apply();
        // The second time after a restart, which adopts them.
        for _ in 0..2 {
            for chain in ["source-check-prerouting", "source-check-output"] {
                assert!(has(&node, chain), "{chain}");
            }
            for chain in ["learn-input", "learn-postrouting", "learn-affinity", "learn-affinity-tcp"] {
                assert_eq!(has(&node, chain), is_learned, "{chain}");
            }
            node = node.restart();
            node.apply();
        }
    }
    node.handle([Event::Service(Change::Deleted(object_name("shop/web")))]).apply();
    node.handle([service("shop/web", "10.96.0.1").port("", Tcp, 80).node_port(30080).applied()]).apply();
    node = node.restart();
    node.apply();
    assert_eq!(chains(&node), before);
}

/// The process may end before it has removed unused objects.
#[test]
fn unused_chains_are_deleted_when_a_table_is_adopted() {
    let mut node = plain();
    let guarded = service("shop/web", "10.96.0.1").port("", Tcp, 80).load_balancer_ip("203.0.113.1");
    node.handle([guarded.source_range("198.51.100.0/24").affinity(Duration::from_secs(60)).applied()])
        .apply();
    let mut node = node.restart();
    node.handle([Event::Service(Change::Deleted(object_name("shop/web")))]).apply_all();
    node.assert_serves_the_plan();
    let text = node.tables().to_nft();
    assert!(!text.contains("chain learn-") && !text.contains("chain source-check"), "{text}");
}

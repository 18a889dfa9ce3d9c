//! Session affinity: who stays remembered through changes, failures and restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_core::Protocol::Tcp;
use portolan_core::backend::MetricValue;
use portolan_core::node::DetectLocal;
use portolan_nft::{Bytes, DumpedChain, Element, ElementValue, Transaction};
use portolan_testkit::objects::{ServiceBuilder, SliceBuilder, ip, service, slice};

use super::intercepted::Intercepted;
use super::*;

const HOURS: Duration = Duration::from_secs(10_800);
const MAP: &str = "affinity-8080/shop/cart/tcp/";
/// `ENOENT`: linux/errno-base.h.
const ENOENT: i32 = 2;

fn cart() -> ServiceBuilder {
    service("shop/cart", "10.96.2.1").port("", Tcp, 80).node_port(30080)
}

fn pods(lasts: &[u8]) -> SliceBuilder {
    let pods = slice("shop/cart-1", "cart").port("", Tcp, 8080);
    lasts.iter().fold(pods, |pods, last| pods.on("n2", &format!("10.244.2.{last}")))
}

/// A node whose service has three endpoints, with a client remembered for each.
fn remembering() -> Node {
    let mut node = Node::new(config(), [cart().affinity(HOURS).applied(), pods(&[1, 2, 3]).applied()]);
    node.apply_all();
    for last in 1..=3 {
        remember(&node, MAP, last);
    }
    node
}

/// What a packet of client `last` does that was sent to endpoint `last`.
fn remember(node: &Node, map: &str, last: u8) {
    let table = table(IpFamily::V4);
    let set = node.tables().dump_set(&table, map).unwrap().unwrap().set.unwrap();
    let endpoint = Bytes::addr(ip(&format!("10.244.2.{last}")));
    let element = Element::data(Bytes::addr([198, 51, 100, last].into()), endpoint);
    let mut learn = Transaction::new(table);
    learn.add_elements(&set, [Element { expires: Some(HOURS), ..element }]);
    node.tables().commit(&learn).unwrap();
}

/// The clients in a map, by the last byte of their address, with the last byte of their endpoint's.
fn remembered(node: &Node, map: &str) -> Option<BTreeMap<u8, u8>> {
    let last = |bytes: &[u8]| *bytes.last().unwrap();
    let found = node.tables().dump_set(&table(IpFamily::V4), map).unwrap()?;
    let pairs = found.elements.iter().map(|element| match &element.value {
        ElementValue::Data(data) => (last(&element.key), last(data)),
        other => panic!("{other:?}"),
    });
    Some(pairs.collect())
}

fn pairs<const N: usize>(lasts: [u8; N]) -> BTreeMap<u8, u8> {
    lasts.map(|last| (last, last)).into()
}

#[test]
fn only_clients_of_a_removed_endpoint_are_deleted() {
    let mut node = remembering();
    node.handle([pods(&[1, 3]).applied()]).apply();
    assert_eq!(remembered(&node, MAP), Some(pairs([1, 3])));
    node.handle([pods(&[1, 3, 4]).applied()]).apply();
    assert_eq!(remembered(&node, MAP), Some(pairs([1, 3])), "a new endpoint takes no client");
    node.assert_serves_the_plan();
    node.handle([pods(&[5]).applied()]).apply();
    assert_eq!(remembered(&node, MAP), Some(pairs([])));
    node.assert_serves_the_plan();
}

#[test]
fn a_client_that_expired_before_its_deletion_delays_no_other() {
    let mut node = remembering();
    node.handle([pods(&[1, 3]).applied()]);
    node.state.prepare();
    // The change goes through; the forgetting meets an entry that has just expired, and is repeated.
    node.tables().pass_next();
    node.tables().fail_next(ENOENT);
    node.apply();
    assert_eq!(remembered(&node, MAP), Some(pairs([1, 3])));
}

#[test]
fn a_failed_deletion_of_clients_is_repeated() {
    let mut node = remembering();
    node.handle([pods(&[1, 3]).applied()]);
    node.tables().pass_next();
    node.tables().fail_next(12);
    node.try_apply(IpFamily::V4).unwrap_err();
    node.state.forget_applied(IpFamily::V4);
    node.apply();
    assert_eq!(remembered(&node, MAP), Some(pairs([1, 3])));
    node.assert_serves_the_plan();
}

#[test]
fn a_restart_keeps_clients_except_those_of_removed_endpoints() {
    let mut node = remembering().restart();
    assert_eq!(node.apply().operations, 0);
    assert_eq!(remembered(&node, MAP), Some(pairs([1, 2, 3])));
    node.handle([pods(&[2, 3]).applied()]);
    let mut node = node.restart();
    node.apply();
    assert_eq!(remembered(&node, MAP), Some(pairs([2, 3])));
    node.assert_serves_the_plan();
}

#[test]
fn another_timeout_is_another_rule_and_deletes_no_client() {
    let mut node = remembering();
    let report = node.handle([cart().affinity(HOURS / 2).applied()]).apply();
    assert_eq!(report.operations, 2, "the chain that learns is flushed and filled");
    assert_eq!(remembered(&node, MAP), Some(pairs([1, 2, 3])));
    let nft = node.tables().to_nft();
    assert!(nft.contains("timeout 1h30m"), "{nft}");
}

#[test]
fn removed_affinity_deletes_its_objects_and_clients() {
    let mut node = remembering();
    node.handle([cart().applied()]).apply();
    node.assert_serves_the_plan();
    assert_eq!(remembered(&node, MAP), None);
    let nft = node.tables().to_nft();
    assert!(!nft.contains("shop/cart"), "{nft}");
    node.handle([cart().affinity(HOURS).applied()]).apply();
    node.assert_serves_the_plan();
    assert_eq!(remembered(&node, MAP), Some(pairs([])));
}

#[test]
fn clients_of_one_target_port_stay_when_another_comes_and_goes() {
    let mut node = remembering();
    let canary = || slice("shop/cart-2", "cart").port("", Tcp, 9090).on("n2", "10.244.2.9");
    node.handle([canary().applied()]).apply();
    remember(&node, "affinity-9090/shop/cart/tcp/", 9);
    node.assert_serves_the_plan();
    node.handle([slice("shop/cart-2", "cart").port("", Tcp, 9090).applied()]).apply();
    node.assert_serves_the_plan();
    assert_eq!(remembered(&node, "affinity-9090/shop/cart/tcp/"), None);
    assert_eq!(remembered(&node, MAP), Some(pairs([1, 2, 3])));
}

#[test]
fn a_busy_chain_of_a_service_that_lost_affinity_is_swept_later() {
    let mut node = remembering();
    node.handle([cart().applied()]);
    // The change goes through, the deletion of its chains does not: kernels before 6.2.
    node.tables().pass_next();
    node.tables().fail_next(16);
    let report = node.apply();
    assert_eq!(report.failed_removals, 1);
    assert_eq!(report.metrics[0].value, MetricValue::Increment(1));
    assert!(node.tables().to_nft().contains("chain cluster/shop/cart/tcp/"));
    // Wanted again, it is taken up empty; given up again, all of it goes.
    node.handle([cart().affinity(HOURS).applied()]).apply();
    node.assert_serves_the_plan();
    node.handle([cart().applied()]).apply();
    node.assert_serves_the_plan();
}

#[test]
fn each_family_has_separate_clients() {
    let both = || service("shop/cart", "10.96.2.1,fd00:10:96::21").port("", Tcp, 80).affinity(HOURS);
    let v6 = slice("shop/cart-6", "cart").port("", Tcp, 8080).on("n1", "fd00:10:244::1");
    let mut node = Node::new(config(), [both().applied(), pods(&[1]).applied(), v6.applied()]);
    node.apply_all();
    remember(&node, MAP, 1);
    let found = node.tables().dump_set(&table(IpFamily::V6), MAP).unwrap().unwrap();
    assert_eq!(found.elements.len(), 0);
}

#[test]
fn a_map_is_read_until_it_holds_no_client_to_delete() {
    let mut node = remembering();
    node.handle([pods(&[1]).applied()]);
    node.state.prepare();
    let mut tables = Intercepted::new(node.tables().clone());
    // The kernel moves the map while it is read, and the first reading has only the first of its clients.
    let mut readings = 0;
    tables.reading = Box::new(move |found| {
        readings += 1;
        if readings == 1 {
            let is_early = |element: &Element| element.key.last() != Some(&3);
            found.elements = found.elements.iter().filter(is_early).collect();
        }
    });
    node.state.forget_applied(IpFamily::V4);
    let tables = Arc::new(Mutex::new(tables));
    let mut backend = NftablesBackend::new(IpFamily::V4, Arc::clone(&tables));
    block_on(backend.apply(node.state.plan(IpFamily::V4), node.state.changes(IpFamily::V4))).unwrap();
    *node.tables() = tables.lock().unwrap().tables.clone();
    assert_eq!(remembered(&node, MAP), Some(pairs([1])));
}

/// The rules of a service with affinity depend on it and on the node; both may change in one apply.
#[test]
fn a_node_that_changes_together_with_its_services_leaves_no_rule_behind() {
    let config = || NodeConfig { detect_local: DetectLocal::NodeCidr, ..config() };
    let node_with = |cidr: &str| {
        let mut node = portolan_testkit::objects::node(world::THIS_NODE, &["192.0.2.1"]);
        node.pod_cidrs = vec![cidr.parse().unwrap()];
        Event::Node(Change::Applied(node))
    };
    let local = || cart().external_local().affinity(HOURS).applied();
    let rules = |node: &Node| -> BTreeMap<_, Vec<_>> {
        let dump = node.tables().dump(&table(IpFamily::V4)).unwrap().unwrap();
        let of = |chain: DumpedChain| chain.rules.into_iter().map(|rule| rule.expressions).collect();
        dump.chains.into_iter().map(|chain| (Arc::clone(&chain.chain.name), of(chain))).collect()
    };
    let lists: [&[u8]; 4] = [&[1, 2, 3], &[1, 2], &[], &[1, 2, 3, 4]];
    for (before, after) in lists.iter().flat_map(|before| lists.iter().map(move |after| (before, after))) {
        let mut changed = Node::new(config(), [local(), pods(before).applied(), node_with("10.1.0.0/16")]);
        changed.apply_all();
        changed.handle([pods(after).applied(), node_with("10.2.0.0/16")]).apply_all();
        let mut fresh = Node::new(config(), [local(), pods(after).applied(), node_with("10.2.0.0/16")]);
        fresh.apply_all();
        assert_eq!(rules(&changed), rules(&fresh), "{before:?} → {after:?}");
    }
}

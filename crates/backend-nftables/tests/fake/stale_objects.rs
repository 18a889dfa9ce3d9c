//! Starting where others were at work: other versions, other hands, and packets that do not wait.

use std::time::Duration;

use portolan_core::Protocol::Tcp;
use portolan_nft::{
    Bytes, Chain, Element, ElementValue, MatchOp, Rule, Selector, Set, Statement, Transaction, Verdict,
};
use portolan_testkit::objects::{ServiceBuilder, SliceBuilder, ip, object_name, service, slice};

use super::intercepted::Intercepted;
use super::*;

const HOURS: Duration = Duration::from_secs(10_800);
const MAP: &str = "affinity-8080/shop/cart/tcp/";

fn cart() -> ServiceBuilder {
    service("shop/cart", "10.96.2.1").port("", Tcp, 80).affinity(HOURS)
}

fn pods(lasts: &[u8]) -> SliceBuilder {
    let pods = slice("shop/cart-1", "cart").port("", Tcp, 8080);
    lasts.iter().fold(pods, |pods, last| pods.on("n2", &format!("10.244.2.{last}")))
}

fn tamper<T>(node: &Node, change: impl FnOnce(&mut Transaction) -> T) {
    let mut transaction = Transaction::new(table(IpFamily::V4));
    change(&mut transaction);
    node.tables().commit(&transaction).unwrap();
}

fn found(tables: &mut FakeTables, name: &str) -> Arc<Set> {
    tables.dump_set(&table(IpFamily::V4), name).unwrap().unwrap().set.unwrap()
}

fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.into())
}

#[test]
fn maps_and_rules_of_another_version_do_not_keep_unused_chains() {
    type Leftover = (&'static str, fn(&mut Transaction));
    let leftovers: [Leftover; 4] = [
        ("a map that leads to a class which is not used any more", |t| {
            let map = Arc::new(Set::verdict_map("old-services", [Selector::Daddr]));
            t.add_chain(Chain::regular("cluster-7")).add_set(Arc::clone(&map));
            t.add_elements(&map, [Element::verdict(Bytes::addr(ip("10.96.9.9")), goto("cluster-7"))]);
        }),
        ("a chain that jumps to a class which is not used any more", |t| {
            t.add_chain(Chain::regular("cluster-7")).add_chain(Chain::regular("old"));
            t.add_rule("old", Rule::new([Statement::Jump("cluster-7".into())]));
        }),
        ("a chain that jumps to one of a service that is gone", |t| {
            t.add_chain(Chain::regular("old"));
            t.add_rule("old", Rule::new([Statement::Jump("cluster/shop/cart/tcp/".into())]));
        }),
        ("a chain that looks into what a service that is gone had for itself", |t| {
            let key = vec![Selector::Daddr, Selector::ThDport];
            let set = "affinity-endpoints/shop/cart/tcp/".into();
            t.add_chain(Chain::regular("old"));
            t.add_rule("old", Rule::new([Statement::InSet { key, op: MatchOp::Eq, set }]));
        }),
    ];
    for (what, leave) in leftovers {
        let mut node = Node::new(config(), [cart().applied(), pods(&[1, 2]).applied()]);
        node.apply_all();
        tamper(&node, leave);
        node.handle([Event::Service(Change::Deleted(object_name("shop/cart")))]);
        let mut node = node.restart();
        node.apply_all();
        node.assert_serves_the_plan();
        let nft = node.tables().to_nft();
        for gone in ["old", "cluster-7", "shop/cart"] {
            assert!(!nft.contains(gone), "{what}: {gone} is still there:\n{nft}");
        }
    }
}

#[test]
fn a_range_of_several_vips_in_the_set_of_ranges_is_removed() {
    let guarded = || {
        let guarded = service("ns/web", "10.96.0.1").port("", Tcp, 80).load_balancer_ip("203.0.113.80");
        guarded.source_range("198.51.100.0/24")
    };
    let pods = slice("ns/web-1", "web").port("", Tcp, 8080).on("n1", "10.244.0.1");
    let mut node = Node::new(config(), [guarded().applied(), pods.applied()]);
    node.apply_all();
    let ranges = found(&mut node.tables(), "source-ranges");
    let key = |vip: &str, source: &str| {
        *Bytes::new().push_addr(ip(vip)).push_proto(6).push_port(80).push_addr(ip(source))
    };
    // nft add element ip portolan source-ranges { 10.9.0.1-10.9.0.7 . tcp . 80 . 192.0.2.0/24 }
    let several = Element {
        key_end: Some(Box::new(key("10.9.0.7", "192.0.2.255"))),
        ..Element::key(key("10.9.0.1", "192.0.2.0"))
    };
    tamper(&node, |t| t.add_elements(&ranges, [several]).is_empty());
    let mut node = node.restart();
    node.apply_all();
    node.assert_serves_the_plan();
    assert!(!node.tables().to_nft().contains("10.9.0.1"));
}

/// A client that the rules of the earlier run lead to an endpoint which has gone meanwhile, when the new
/// run has read the map already, would go there until its time is over.
#[test]
fn a_client_sent_to_a_removed_endpoint_during_the_initial_sync_is_deleted() {
    let mut node = Node::new(config(), [cart().applied(), pods(&[1, 2]).applied()]);
    node.apply_all();
    node.handle([pods(&[2]).applied()]);
    node.state.prepare();
    node.state.forget_applied(IpFamily::V4);
    let mut tables = Intercepted::new(node.tables().clone());
    let map = found(&mut tables.tables, MAP);
    let client = Element::data(Bytes::addr(ip("198.51.100.1")), Bytes::addr(ip("10.244.2.1")));
    let mut learned = Transaction::new(table(IpFamily::V4));
    learned.add_elements(&map, [Element { expires: Some(HOURS), ..client }]);
    // Its packet comes in while we are between reading and writing.
    let mut learned = Some(learned);
    tables.before_commit = Box::new(move |tables, _| {
        if let Some(learned) = learned.take() {
            tables.commit(&learned).unwrap();
        }
    });
    let busy = Arc::new(Mutex::new(tables));
    let mut backend = NftablesBackend::new(IpFamily::V4, Arc::clone(&busy));
    block_on(backend.apply(node.state.plan(IpFamily::V4), node.state.changes(IpFamily::V4))).unwrap();
    let left = busy.lock().unwrap().dump_set(&table(IpFamily::V4), MAP).unwrap().unwrap();
    let to: Vec<_> = left.elements.iter().map(|element| element.value.clone()).collect();
    assert_eq!(to, Vec::<ElementValue>::new());
}

/// Files are not validated by an API server; the kernel's names have up to 255 bytes, nft's few characters.
#[test]
fn invalid_names_do_not_affect_other_services() {
    let long = "x".repeat(250);
    let names = [format!("shop/{long}"), "shop/a b".into(), "shop/é\"{}".into(), "shop/a/b".into()];
    for name in names {
        let (_, plain) = name.split_once('/').unwrap();
        let odd = service(&name, "10.96.2.9").port("", Tcp, 80).affinity(HOURS);
        let its_pods = slice("shop/odd-1", plain).port("", Tcp, 8080).on("n1", "10.244.0.1");
        let other = service("ns/web", "10.96.0.1").port("", Tcp, 80);
        let mut node = Node::new(config(), [odd.applied(), its_pods.applied(), other.applied()]);
        node.apply_all();
        let dump = node.tables().dump(&table(IpFamily::V4)).unwrap().unwrap();
        let verdicts = dump.set("services").unwrap().elements.iter().map(|element| element.value);
        let refused = ElementValue::Verdict(Verdict::Goto("refuse".into()));
        let (refused, served): (Vec<_>, Vec<_>) = verdicts.partition(|verdict| *verdict == refused);
        assert_eq!((served.len(), refused.len()), (1, 1), "{name} is served, and others are refused");
        let names = dump.chains.iter().map(|c| &c.chain.name).chain(dump.sets.iter().map(|s| &s.name));
        for name in names {
            assert!(name.len() < 256, "{name}");
            let fits = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
            assert!(name.chars().all(fits), "{name}");
        }
        assert_eq!(node.restart().apply_all(), 0, "the names are the same in the next run");
    }
}

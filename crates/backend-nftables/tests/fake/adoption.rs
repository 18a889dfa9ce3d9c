//! Starting on a kernel that is not empty.

use portolan_core::Protocol::Tcp;
use portolan_nft::{
    Bytes, Chain, Element, Rule, Selector, Set, Statement, Table, TableFlags, Transaction, Verdict,
};
use portolan_testkit::objects::{object_name, service, slice};

use super::*;

fn web(addresses: &[&str]) -> Vec<Event> {
    let pods = slice("ns/web-1", "web").port("", Tcp, 8080);
    vec![
        service("ns/web", "10.96.0.1").port("", Tcp, 80).node_port(30080).applied(),
        addresses.iter().fold(pods, |pods, ip| pods.on("n1", ip)).applied(),
    ]
}

const THREE: [&str; 3] = ["10.244.0.1", "10.244.0.2", "10.244.0.3"];

/// Changes our IPv4 table behind our back.
fn tamper<T>(node: &Node, change: impl FnOnce(&mut Transaction) -> T) {
    let mut transaction = Transaction::new(table(IpFamily::V4));
    change(&mut transaction);
    node.tables().commit(&transaction).unwrap();
}

fn set(node: &Node, name: &str) -> Arc<Set> {
    let dump = node.tables().dump(&table(IpFamily::V4)).unwrap().unwrap();
    dump.set(name).unwrap().set.clone().unwrap()
}

#[test]
fn a_restart_writes_nothing_even_when_slots_are_in_another_order() {
    let mut node = Node::new(config(), web(&THREE));
    node.apply_all();
    node.handle(web(&["10.244.0.2", "10.244.0.3", "10.244.0.9"])).apply();
    let before = node.tables().to_nft();
    let mut node = node.restart();
    assert_eq!(node.apply_all(), 0);
    assert_eq!(node.tables().to_nft(), before);
}

#[test]
fn a_restart_writes_what_changed_meanwhile_and_no_more() {
    let mut node = Node::new(config(), web(&THREE));
    node.apply_all();
    let mut node = node.restart();
    node.handle(web(&["10.244.0.1", "10.244.0.3", "10.244.0.7"]));
    // One slot for the cluster IP, one for the node port, one endpoint that may reach
    // itself: each removed and added.
    assert_eq!(node.apply().operations, 6);
    node.assert_serves_the_plan();
}

#[test]
fn services_deleted_during_downtime_are_removed() {
    let mut node = Node::new(config(), web(&THREE));
    node.handle([service("ns/gone", "10.96.0.2").port("", Tcp, 80).applied()]).apply_all();
    let mut node = node.restart();
    node.handle([Event::Service(Change::Deleted(object_name("ns/gone")))]).apply_all();
    node.assert_serves_the_plan();
    assert!(!node.tables().to_nft().contains("10.96.0.2"));
}

#[test]
fn damage_by_others_is_repaired_without_touching_the_rest() {
    type Damage = (&'static str, fn(&Node));
    let damages: [Damage; 6] = [
        ("a chain flushed", |node| tamper(node, |t| t.flush_chain("services").is_empty())),
        ("a rule added", |node| {
            tamper(node, |t| t.add_rule("cluster-3", Rule::new([Statement::Drop])).is_empty());
        }),
        ("slots removed", |node| {
            let endpoints = set(node, "endpoints");
            tamper(node, |t| t.flush_set(Arc::clone(&endpoints.name)).is_empty());
        }),
        ("a verdict changed", |node| {
            let services = set(node, "services");
            let mut key = Bytes::new();
            key.push_addr([10, 96, 0, 1].into()).push_proto(6).push_port(80);
            tamper(node, |t| {
                t.delete_elements(&services, [Element::key(key)]);
                t.add_elements(&services, [Element::verdict(key, Verdict::Drop)]);
            });
        }),
        ("elements added", |node| {
            let restricted = set(node, "restricted-services");
            let mut key = Bytes::new();
            key.push_addr([10, 96, 0, 1].into()).push_proto(6).push_port(80);
            tamper(node, |t| t.add_elements(&restricted, [Element::key(key)]).is_empty());
        }),
        ("chains and sets of another version", |node| {
            tamper(node, |t| {
                t.add_set(Set::new("old-set", [Selector::Daddr]));
                t.add_chain(Chain::regular("old-b"));
                let hook = portolan_nft::Hook::Forward;
                t.add_chain(Chain::base("old-hook", portolan_nft::ChainKind::Filter, hook, 0));
                t.add_rule("old-hook", Rule::new([Statement::Jump("old-b".into())]));
                t.add_chain(Chain::regular("old-a"));
                t.add_rule("old-a", Rule::new([Statement::Jump("old-b".into())]));
                let map = Arc::new(Set::verdict_map("old-map", [Selector::Daddr]));
                t.add_set(Arc::clone(&map));
                let verdict = Verdict::Goto("old-b".into());
                t.add_elements(&map, [Element::verdict(Bytes::addr([10, 0, 0, 1].into()), verdict)]);
            });
        }),
    ];
    for (damage, inflict) in damages {
        let mut node = Node::new(config(), web(&THREE));
        node.apply_all();
        let whole = node.tables().to_nft();
        inflict(&node);
        assert_ne!(node.tables().to_nft(), whole, "{damage}");
        let mut node = node.restart();
        let report = node.apply();
        assert!(report.operations > 0 && report.operations < 14, "{damage}: {report:?}");
        node.apply_all();
        node.assert_serves_the_plan();
        assert_eq!(node.tables().to_nft(), whole, "{damage}");
    }
}

#[test]
fn a_table_with_another_layout_is_replaced_in_one_transaction() {
    type Layout = (&'static str, fn(&mut Transaction));
    let layouts: [Layout; 2] = [
        ("a map of another type", |t| {
            t.add_set(Set::new("services", [Selector::Daddr]));
        }),
        ("a base chain at another priority", |t| {
            let chain =
                Chain::base("nat-output", portolan_nft::ChainKind::Nat, portolan_nft::Hook::Output, -99);
            t.add_chain(chain);
        }),
    ];
    for (layout, make) in layouts {
        let mut node = Node::new(config(), web(&THREE));
        tamper(&node, |t| {
            t.add_table(Table::default());
            make(t);
        });
        let report = node.apply();
        assert_eq!(report.transactions, 1, "{layout}");
        node.apply_all();
        node.assert_serves_the_plan();
    }
}

#[test]
fn a_deleted_table_is_created_again() {
    let mut node = Node::new(config(), web(&THREE));
    node.apply_all();
    tamper(&node, |t| t.delete_table().is_empty());
    node.handle(web(&["10.244.0.9"]));
    let error = node.try_apply(IpFamily::V4).unwrap_err();
    assert_eq!(error.retry(), portolan_core::backend::Retry::CompareAll);
    node.apply();
    node.assert_serves_the_plan();
}

#[test]
fn tables_are_owned_where_the_kernel_can_keep_them_and_only_there() {
    for (features, flags) in [(true, TableFlags::OWNED), (false, TableFlags::NONE)] {
        let offered = Features { owner_persist: features, ..Features::default() };
        let tables = Arc::new(Mutex::new(FakeTables::new().with_features(offered)));
        let mut node = Node::on(tables, config(), web(&THREE));
        node.apply_all();
        for (_, table) in node.tables().tables() {
            assert_eq!(table.attributes().flags, flags);
        }
        assert_eq!(node.apply_all(), 0);
    }
}

#[test]
fn tables_of_others_are_left_alone() {
    let mut node = Node::new(config(), web(&THREE));
    let other = TableId::new(portolan_nft::Family::Ip, "other");
    let mut transaction = Transaction::new(other.clone());
    transaction.add_table(Table::default()).add_chain(Chain::regular("theirs"));
    node.tables().commit(&transaction).unwrap();
    let before = node.tables().dump(&other).unwrap();
    node.apply_all();
    let mut node = node.restart();
    node.handle(web(&[])).apply_all();
    for family in IpFamily::ALL {
        let backend = node.backend(family);
        block_on(backend.cleanup()).unwrap();
    }
    assert_eq!(node.tables().dump(&other).unwrap(), before);
}

//! What a change costs, and the changes that could go wrong.

use std::fmt::Write as _;

use portolan_core::Protocol::Tcp;
use portolan_testkit::objects::{ServiceBuilder, node, object_name, service, slice};

use super::*;

/// `services` Services with `endpoints` endpoints each.
fn many(services: usize, endpoints: usize) -> Vec<Event> {
    let mut lists = (Vec::new(), Vec::new());
    for i in 0..services {
        let name = format!("ns/s{i}");
        let ip = format!("10.96.{}.{}", i / 250, i % 250 + 1);
        lists.0.push(service(&name, &ip).port("", Tcp, 80).build());
        let mut pods = slice(&format!("{name}-1"), &format!("s{i}")).port("", Tcp, 8080);
        for e in 0..endpoints {
            pods = pods.on("n2", &format!("10.{}.{}.{}", 128 + i / 250, i % 250, e + 1));
        }
        lists.1.push(pods.build());
    }
    vec![Event::Service(Change::Replaced(lists.0)), Event::EndpointSlice(Change::Replaced(lists.1))]
}

fn pods(addresses: &[&str]) -> Event {
    let all = slice("ns/s1-1", "s1").port("", Tcp, 8080);
    addresses.iter().fold(all, |pods, address| pods.on("n2", address)).applied()
}

#[test]
fn a_second_apply_of_the_same_plan_sends_nothing() {
    let mut node = Node::new(config(), many(20, 3));
    node.apply_all();
    let commits = node.tables().commit_count();
    assert_eq!(node.apply_all(), 0);
    node.state.forget_applied(IpFamily::V4);
    assert_eq!(node.apply().operations, 0, "nor does a complete comparison");
    assert_eq!(node.tables().commit_count(), commits);
}

#[test]
fn messages_and_bytes_follow_the_change_and_are_reported() {
    let report_of_one_change = |services| {
        let mut node = Node::new(config(), many(services, 3));
        node.apply_all();
        let report = node.handle([pods(&["10.128.1.1", "10.128.1.2", "10.128.1.9"])]).apply();
        (report.operations, report.messages, report.bytes)
    };
    let (operations, messages, bytes) = report_of_one_change(5);
    assert_eq!((operations, messages), (2, 2), "a slot goes and comes back with another endpoint");
    assert!((100..1_000).contains(&bytes), "{bytes} bytes");
    assert_eq!(report_of_one_change(500), (operations, messages, bytes));
}

#[test]
fn a_change_costs_what_it_touches_and_not_what_there_is() {
    let base = ["10.128.1.1", "10.128.1.2", "10.128.1.3"];
    // Elements written and removed, for a VIP alone.
    let cases: [(&str, &[&str], usize); 4] = [
        ("an endpoint replaced: one slot", &["10.128.1.1", "10.128.1.2", "10.128.1.9"], 2),
        (
            "an endpoint more: one slot, one verdict, one class with its rules",
            &["10.128.1.1", "10.128.1.2", "10.128.1.3", "10.128.1.4"],
            1 + 2 + 4,
        ),
        ("the last endpoint less: the same", &base[..2], 1 + 2 + 4),
        ("the first endpoint less: the last moves into its place", &base[1..], 3 + 2 + 4),
    ];
    for (rule, wanted, operations) in cases {
        let mut costs = Vec::new();
        for services in [10, 500] {
            let mut node = Node::new(config(), many(services, 3));
            node.apply();
            let report = node.handle([pods(wanted)]).apply();
            assert_eq!(report.transactions, 1, "{rule}");
            costs.push(report.operations);
            node.apply_all();
            node.assert_serves_the_plan();
        }
        assert_eq!(costs, [operations, operations], "{rule}");
    }
}

#[test]
fn a_new_vip_adds_only_its_elements() {
    let mut node = Node::new(config(), many(200, 2));
    node.apply();
    let events = [
        service("ns/new", "10.97.0.1").port("", Tcp, 80).applied(),
        slice("ns/new-1", "new").port("", Tcp, 80).on("n2", "10.200.0.1").on("n2", "10.200.0.2").applied(),
    ];
    assert_eq!(node.handle(events).apply().operations, 4, "a verdict, two slots, a cluster IP");
    let gone = Event::Service(Change::Deleted(object_name("ns/new")));
    assert_eq!(node.handle([gone]).apply().operations, 4);
}

#[test]
fn a_large_initial_sync_is_split_into_bounded_transactions() {
    let mut node = Node::new(config(), many(2_000, 20));
    let report = node.apply();
    assert!(report.operations > 42_000, "{report:?}");
    assert!((3..=6).contains(&report.transactions), "{report:?}");
    node.apply_all();
    node.assert_serves_the_plan();
}

#[test]
fn an_address_moves_between_services_in_one_transaction() {
    let with = |name: &str, own: &str, external: Option<&str>| {
        let service = service(name, own).port("", Tcp, 80);
        external.into_iter().fold(service, ServiceBuilder::external_ip).applied()
    };
    let pod = |name: &str, owner: &str, ip: &str| slice(name, owner).port("", Tcp, 80).on("n1", ip).applied();
    let shared = Some("203.0.113.1");
    let mut node = Node::new(
        config(),
        [
            with("ns/a", "10.96.0.1", shared),
            with("ns/b", "10.96.0.2", None),
            pod("ns/a-1", "a", "10.244.0.1"),
            pod("ns/b-1", "b", "10.244.0.2"),
        ],
    );
    node.apply_all();
    for _ in 0..2 {
        let swap = [with("ns/a", "10.96.0.1", None), with("ns/b", "10.96.0.2", shared)];
        let report = node.handle(swap).apply();
        assert_eq!((report.transactions, report.operations), (1, 2), "only the slot is rewritten");
        node.assert_serves_the_plan();
        let back = [with("ns/b", "10.96.0.2", None), with("ns/a", "10.96.0.1", shared)];
        node.handle(back).apply();
        node.assert_serves_the_plan();
    }
}

#[test]
fn unused_classes_are_kept_up_to_a_limit() {
    let mut node = Node::new(config(), many(1, 0));
    node.apply();
    let mut addresses = String::new();
    let classes = |node: &Node| {
        let dump = node.tables().dump(&table(IpFamily::V4)).unwrap().unwrap();
        dump.chains.iter().filter(|chain| chain.chain.name.starts_with("cluster-")).count()
    };
    let mut most = 0;
    for count in 1..=200_u8 {
        write!(addresses, " 10.128.9.{count}").unwrap();
        let list: Vec<_> = addresses.split_whitespace().collect();
        let all = list.iter().fold(slice("ns/s0-1", "s0").port("", Tcp, 80), |pods, ip| pods.on("n2", ip));
        node.handle([all.applied()]).apply();
        most = most.max(classes(&node));
    }
    assert!((50..=70).contains(&most), "{most} class chains at a time");
    node.apply_all();
    node.assert_serves_the_plan();
}

#[test]
fn a_failed_apply_loses_nothing() {
    for errno in [16, 22, 1] {
        let mut node = Node::new(config(), many(5, 2));
        node.apply_all();
        node.tables().fail_next(errno);
        node.handle([pods(&["10.128.1.7"])]);
        let before = node.tables().to_nft();
        node.try_apply(IpFamily::V4).unwrap_err();
        assert_eq!(node.tables().to_nft(), before, "the last good state stays");
        node.handle([Event::Service(Change::Deleted(object_name("ns/s3")))]);
        node.apply();
        node.assert_serves_the_plan();
    }
}

#[test]
fn a_new_node_address_changes_only_the_ranges_of_node_ports() {
    let mut node_object = node(world::THIS_NODE, &["192.0.2.1"]);
    let mut node = Node::new(config(), many(50, 2));
    node.apply();
    let first = node.handle([Event::Node(Change::Applied(node_object.clone()))]).apply();
    // Two chains get a rule that looks at the address, and the set its range.
    assert!(first.operations <= 10, "{first:?}");
    node_object.addresses = vec!["192.0.2.9".parse().unwrap()];
    let second = node.handle([Event::Node(Change::Applied(node_object))]).apply();
    assert!(second.operations <= 2, "{second:?}");
    let text = node.tables().to_nft();
    assert!(text.contains("192.0.2.9") && !text.contains("192.0.2.1"), "{text}");
}

#[test]
fn classes_of_removed_services_are_swept() {
    let mut node = Node::new(config(), []);
    node.apply();
    for count in 1..=150_u8 {
        let all = slice("ns/s-1", "s").port("", Tcp, 80);
        let all = (1..=count).fold(all, |pods, i| pods.on("n2", &format!("10.128.0.{i}")));
        node.handle([service("ns/s", "10.96.0.1").port("", Tcp, 80).applied(), all.applied()]).apply();
        node.handle([Event::Service(Change::Deleted(object_name("ns/s")))]).apply();
    }
    let dump = node.tables().dump(&table(IpFamily::V4)).unwrap().unwrap();
    let classes = dump.chains.iter().filter(|chain| chain.chain.name.starts_with("cluster-")).count();
    assert!(classes <= 65, "{classes}");
}

#[test]
fn an_address_may_turn_from_external_ip_to_cluster_ip_and_back() {
    let pods = slice("ns/web-1", "web").port("", Tcp, 80).on("n1", "10.244.0.1").applied();
    let external = || service("ns/web", "10.96.0.1").port("", Tcp, 80).external_ip("10.96.0.2").applied();
    let cluster = || service("ns/web", "10.96.0.2").port("", Tcp, 80).external_ip("10.96.0.1").applied();
    let mut node = Node::new(config(), [external(), pods]);
    node.apply_all();
    for event in [cluster(), external()] {
        node.handle([event]).apply_all();
        node.assert_serves_the_plan();
    }
}

#[test]
fn a_class_that_comes_into_use_during_a_sweep_is_kept() {
    let mut node = Node::new(config(), []);
    node.apply_all();
    let endpoints = |count: u8| {
        let all = slice("ns/s-1", "s").port("", Tcp, 80);
        (1..=count).fold(all, |pods, i| pods.on("n2", &format!("10.128.0.{i}"))).applied()
    };
    let s = || service("ns/s", "10.96.0.1").port("", Tcp, 80).applied();
    for count in 1..=66 {
        node.handle([s(), endpoints(count)]).apply();
    }
    node.handle([endpoints(30)]).apply();
    let dump = node.tables().dump(&table(IpFamily::V4)).unwrap().unwrap();
    let classes: Vec<_> = dump
        .chains
        .iter()
        .map(|chain| &*chain.chain.name)
        .filter(|name| name.starts_with("cluster-"))
        .collect();
    // The one that was in use when the others were counted stays for the next time.
    assert_eq!(classes, ["cluster-30", "cluster-66", "cluster-ip-check"]);
    node.assert_serves_the_plan();
}

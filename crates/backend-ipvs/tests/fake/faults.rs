//! What becomes of an apply that the kernel does not carry out altogether.

use std::time::Duration;

use portolan_backend_ipvs::Change;
use portolan_core::backend::{Metric, MetricValue, Retry, Scope, error_chain};
use portolan_core::event::Event;
use portolan_core::{IpFamily, Protocol};
use portolan_ipvs::{ServerChange, Set, SetChange};
use portolan_testkit::objects::{service, slice};
use portolan_testkit::world::config;

use crate::kernel::{FULL, Refuse};
use crate::node::Node;

/// Service `number` with one pod.
fn shop(number: u8) -> [Event; 2] {
    let name = format!("shop/s{number}");
    let pods = slice(&format!("{name}-4"), &format!("s{number}")).port("http", Protocol::Tcp, 8080);
    let service = service(&name, &format!("10.96.0.{number}")).port("http", Protocol::Tcp, 80);
    [service.applied(), pods.on("n2", &format!("10.244.1.{number}")).applied()]
}

fn node() -> Node {
    Node::new(config(), (1..=4).flat_map(shop))
}

const SECOND: Duration = Duration::from_secs(1);

/// How often programs of iptables failed.
fn failed_restores(metrics: &[Metric]) -> u64 {
    let is_restore =
        |metric: &&Metric| metric.name == "kubeproxy_sync_proxy_rules_iptables_restore_failures_total";
    let counts = metrics.iter().filter(is_restore).map(|metric| match metric.value {
        MetricValue::Increment(count) => count,
        _ => panic!("{metric:?}"),
    });
    // It is reported from the first attempt on.
    counts.reduce(|sum, count| sum + count).unwrap()
}

fn is_second_or_sixth(change: &Change) -> bool {
    is_second(change)
        || matches!(change, Change::Server(ServerChange::Add(key, _)) if key.address.to_string() == "10.96.0.6")
}

/// Of a Service that cannot be served: `shop/s2`.
fn is_second(change: &Change) -> bool {
    matches!(change, Change::Server(ServerChange::Add(key, _) | ServerChange::AddDestination(key, ..))
        if key.address.to_string() == "10.96.0.2")
}

#[test]
fn a_rejected_virtual_server_affects_only_its_service_is_named_and_retried() {
    for errno in [libc::EINVAL, libc::ENOENT, libc::ENOMEM] {
        let mut node = node();
        node.kernels.v4.state().refuse = Some((is_second, errno));
        let report = node.try_apply(IpFamily::V4).unwrap();
        assert_eq!((report.follow_up, report.failed_removals), (Some(SECOND), 0));
        let text = node.refusal().unwrap();
        assert!(text.contains("for shop/s2:http") && !text.contains("other"), "{text}");
        let served: Vec<_> =
            node.held(IpFamily::V4).0.into_keys().map(|key| key.address.to_string()).collect();
        assert_eq!(served, ["10.96.0.1", "10.96.0.3", "10.96.0.4"]);
        // Meanwhile others change, and get what they want, for what it costs.
        node.handle(shop(5));
        assert_eq!(node.try_apply(IpFamily::V4).unwrap().scope, Scope::Partial);
        assert_eq!(node.held(IpFamily::V4).0.len(), 4);
        node.kernels.v4.state().refuse = None;
        node.pass(SECOND);
        let report = node.try_apply(IpFamily::V4).unwrap();
        assert_eq!((report.scope, report.follow_up, node.refusal()), (Scope::Full, None, None));
        assert_eq!(node.held(IpFamily::V4).0.len(), 5);
    }
}

#[test]
fn repeatedly_rejected_changes_are_retried_at_growing_intervals_up_to_a_minute() {
    let mut node = node();
    node.kernels.v4.state().refuse = Some((is_second, libc::EINVAL));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let pause = node.try_apply(IpFamily::V4).unwrap().follow_up.unwrap();
        pauses.push(pause.as_secs());
        node.pass(pause);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    // A change of it is refused as well, and puts nothing off.
    node.try_apply(IpFamily::V4).unwrap();
    node.pass(10 * SECOND);
    let pods = slice("shop/s2-4", "s2").port("http", Protocol::Tcp, 8080).on("n2", "10.244.1.99");
    node.handle([pods.applied()]);
    let scopes = [0, 49, 1].map(|seconds| {
        node.pass(seconds * SECOND);
        node.try_apply(IpFamily::V4).unwrap().scope
    });
    assert_eq!(scopes, [Scope::Partial, Scope::Partial, Scope::Full]);
    // Another service port is new.
    node.kernels.v4.state().refuse = Some((is_second_or_sixth, libc::EINVAL));
    node.handle(shop(6));
    assert_eq!(node.try_apply(IpFamily::V4).unwrap().follow_up, Some(SECOND));
    assert!(node.refusal().unwrap().contains("for shop/s6:http"));
}

#[test]
fn a_node_is_intact_without_objects_that_the_kernel_rejected() {
    let mut node = node();
    let is_first = |change: &Change| match change {
        Change::Server(ServerChange::Add(key, _) | ServerChange::AddDestination(key, ..)) => {
            key.address.to_string() == "10.96.0.1"
        }
        Change::AddAddress(ip) => ip.to_string() == "10.96.0.1",
        _ => false,
    };
    node.kernels.v4.state().refuse = Some((is_first, libc::EINVAL));
    node.try_apply(IpFamily::V4).unwrap();
    assert!(node.is_intact(IpFamily::V4));
    node.kernels.v4.state().device.as_mut().unwrap().remove(&"10.96.0.2".parse().unwrap());
    assert!(!node.is_intact(IpFamily::V4), "that one was there");
}

#[test]
fn a_full_set_is_named_with_the_service_that_exceeds_it() {
    let refuse: Refuse = (
        |change| {
            matches!(change, Change::Set(SetChange::Add(Set::ClusterIp, _, member))
            if !member.to_string().starts_with("10.96.0.1,"))
        },
        FULL,
    );
    let mut node = node();
    node.kernels.v4.state().refuse = Some(refuse);
    node.try_apply(IpFamily::V4).unwrap();
    let text = node.refusal().unwrap();
    assert!(text.contains(":http, and what 2 other service ports need"), "{text}");
    assert_eq!(node.held(IpFamily::V4).0.len(), 4, "all of them have their virtual servers");
}

#[test]
fn without_privileges_an_apply_fails_and_succeeds_once_they_are_granted() {
    let mut node = node();
    node.apply([]);
    node.kernels.v4.state().refuse = Some((|_| true, libc::EPERM));
    node.handle(shop(5));
    let error = node.try_apply(IpFamily::V4).unwrap_err();
    assert_eq!(error.retry(), Retry::CompareAll);
    assert_eq!(failed_restores(error.metrics()), 0, "no program failed");
    let text = error_chain(&error);
    assert!(text.contains("for shop/s5:http") && text.contains("not permitted"), "{text}");
    node.kernels.v4.state().refuse = None;
    node.process.state.forget_applied(IpFamily::V4);
    assert_eq!(failed_restores(&node.try_apply(IpFamily::V4).unwrap().metrics), 0);
    assert_eq!(node.held(IpFamily::V4).0.len(), 5);
}

#[test]
fn a_rejected_removal_of_an_unused_object_names_the_object() {
    let mut node = node();
    node.apply([]);
    node.kernels.v4.state().refuse = Some((|change| matches!(change, Change::RemoveAddress(_)), libc::EBUSY));
    node.handle([Event::Service(portolan_core::event::Change::Deleted(
        portolan_testkit::objects::object_name("shop/s3"),
    ))]);
    let report = node.try_apply(IpFamily::V4).unwrap();
    assert_eq!((report.failed_removals, report.follow_up), (1, Some(SECOND)));
    let text = node.refusal().unwrap();
    assert!(text.contains("10.96.0.3") && !text.contains("for shop"), "{text}");
}

#[test]
fn a_full_sync_interrupted_at_any_point_is_completed_by_the_next() {
    let mut whole = node();
    whole.apply([]);
    let wanted = whole.held(IpFamily::V4);
    // Each Service takes an element, a server, an endpoint, and an address that two parts know.
    for changes in 0..20 {
        let mut node = node();
        node.fail_after(Some(changes));
        node.try_apply(IpFamily::V4).unwrap_err();
        node.fail_after(None);
        let mut node = node.restart();
        node.apply([]);
        assert_eq!(node.held(IpFamily::V4), wanted, "after {changes} changes");
    }
}

#[test]
fn after_a_failed_load_of_rules_the_next_apply_completes() {
    let mut node = node();
    node.kernels.v4.state().fail_rules = true;
    assert_eq!(failed_restores(node.try_apply(IpFamily::V4).unwrap_err().metrics()), 1);
    node.kernels.v4.state().fail_rules = false;
    node.apply([]);
    let mut whole = self::node();
    whole.apply([]);
    assert_eq!(node.held(IpFamily::V4), whole.held(IpFamily::V4));
}

#[test]
fn a_restart_loads_no_rules_if_they_are_up_to_date() {
    let mut node = node();
    node.apply([]);
    assert_eq!(node.kernels.v4.state().loads, 1);
    let mut node = node.restart();
    assert_eq!(node.apply([]), []);
    assert_eq!(node.kernels.v4.state().loads, 1);
}

#[test]
fn a_new_node_address_answers_on_node_ports_after_the_next_change() {
    let web = service("shop/web", "10.96.0.80").port("http", Protocol::Tcp, 80).node_port(30_080);
    let mut node = node();
    node.apply([web.applied()]);
    let new = "192.0.2.7".parse().unwrap();
    node.kernels.v4.state().elsewhere.insert(new);
    node.apply(shop(5));
    let at_new = |node: &Node| node.held(IpFamily::V4).0.keys().any(|key| key.address == new);
    assert!(at_new(&node));
    node.kernels.v4.state().elsewhere.remove(&new);
    node.apply(shop(6));
    assert!(!at_new(&node), "the server goes with the address");
}

/// The other mode's rules translate until the virtual servers are ready, so no connection waits for them.
#[test]
fn rules_of_another_mode_are_removed_only_after_virtual_servers_and_addresses_exist() {
    let mut node = node();
    {
        let mut state = node.kernels.v4.state();
        let rules = vec!["-d 10.96.0.1/32 -j KUBE-SVC-ABCDEFGHIJKLMNOP".to_owned()];
        state.chains.insert(("nat".into(), "KUBE-SERVICES".into()), rules);
        state.fail_rules = true;
    }
    node.try_apply(IpFamily::V4).unwrap_err();
    let (servers, _, device, _) = node.held(IpFamily::V4);
    assert_eq!((servers.len(), device.len()), (4, 4));
}

//! What becomes of an apply that the kernel does not carry out altogether.

use portolan_backend_ipvs::Change;
use portolan_core::backend::{Retry, error_chain};
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

/// Of a Service that cannot be served: `shop/s2`.
fn is_second(change: &Change) -> bool {
    matches!(change, Change::Server(ServerChange::Add(key, _) | ServerChange::AddDestination(key, ..))
        if key.address.to_string() == "10.96.0.2")
}

#[test]
fn a_refused_virtual_server_costs_its_service_alone_is_named_and_tried_again() {
    for errno in [libc::EINVAL, libc::ENOENT, libc::ENOMEM] {
        let mut node = node();
        node.kernels.v4.state().refuse = Some((is_second, errno));
        let error = node.try_apply(IpFamily::V4).unwrap_err();
        let text = error_chain(&error);
        assert!(text.contains("for shop/s2:http") && !text.contains("other"), "{text}");
        assert_eq!(error.retry(), Retry::CompareAll);
        let served: Vec<_> =
            node.held(IpFamily::V4).0.into_keys().map(|key| key.address.to_string()).collect();
        assert_eq!(served, ["10.96.0.1", "10.96.0.3", "10.96.0.4"]);
        // Meanwhile others change, and get what they want.
        node.handle(shop(5));
        node.process.state.forget_applied(IpFamily::V4);
        node.try_apply(IpFamily::V4).unwrap_err();
        assert_eq!(node.held(IpFamily::V4).0.len(), 4);
        node.kernels.v4.state().refuse = None;
        node.process.state.forget_applied(IpFamily::V4);
        node.try_apply(IpFamily::V4).unwrap();
        assert_eq!(node.held(IpFamily::V4).0.len(), 5);
    }
}

#[test]
fn a_full_set_is_named_with_the_service_that_found_no_room() {
    let refuse: Refuse = (
        |change| {
            matches!(change, Change::Set(SetChange::Add(Set::ClusterIp, _, member))
            if !member.to_string().starts_with("10.96.0.1,"))
        },
        FULL,
    );
    let mut node = node();
    node.kernels.v4.state().refuse = Some(refuse);
    let text = error_chain(&node.try_apply(IpFamily::V4).unwrap_err());
    assert!(text.contains(":http, and what 2 other service ports need"), "{text}");
    assert_eq!(node.held(IpFamily::V4).0.len(), 4, "all of them have their virtual servers");
}

#[test]
fn a_refused_change_of_a_running_proxy_is_told_and_made_up_for() {
    let mut node = node();
    node.apply([]);
    node.kernels.v4.state().refuse = Some((|_| true, libc::EPERM));
    node.handle(shop(5));
    let text = error_chain(&node.try_apply(IpFamily::V4).unwrap_err());
    assert!(text.contains("for shop/s5:http") && text.contains("not permitted"), "{text}");
    node.kernels.v4.state().refuse = None;
    node.process.state.forget_applied(IpFamily::V4);
    node.try_apply(IpFamily::V4).unwrap();
    assert_eq!(node.held(IpFamily::V4).0.len(), 5);
}

#[test]
fn a_refusal_to_remove_what_no_service_has_any_more_names_the_object() {
    let mut node = node();
    node.apply([]);
    node.kernels.v4.state().refuse = Some((|change| matches!(change, Change::RemoveAddress(_)), libc::EBUSY));
    node.handle([Event::Service(portolan_core::event::Change::Deleted(
        portolan_testkit::objects::object_name("shop/s3"),
    ))]);
    let text = error_chain(&node.try_apply(IpFamily::V4).unwrap_err());
    assert!(text.contains("10.96.0.3") && !text.contains("for shop"), "{text}");
}

#[test]
fn a_proxy_that_dies_anywhere_in_a_load_is_made_up_for_by_the_next() {
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
fn programs_that_fail_keep_no_virtual_server_away_for_longer_than_that() {
    let mut node = node();
    node.kernels.v4.state().fail_rules = true;
    node.try_apply(IpFamily::V4).unwrap_err();
    node.kernels.v4.state().fail_rules = false;
    node.apply([]);
    let mut whole = self::node();
    whole.apply([]);
    assert_eq!(node.held(IpFamily::V4), whole.held(IpFamily::V4));
}

#[test]
fn a_restart_loads_no_rules_where_they_are_as_they_should_be() {
    let mut node = node();
    node.apply([]);
    assert_eq!(node.kernels.v4.state().loads, 1);
    let mut node = node.restart();
    assert_eq!(node.apply([]), []);
    assert_eq!(node.kernels.v4.state().loads, 1);
}

#[test]
fn an_address_that_the_node_got_answers_on_node_ports_from_the_next_change_on() {
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

/// The other mode's rules translate until the virtual servers are ready, so nobody waits for them.
#[test]
fn rules_of_another_mode_go_only_when_virtual_servers_and_addresses_are_there() {
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

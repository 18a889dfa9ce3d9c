//! What follows from this node's own object, its configuration and the ranges of cluster IPs.

use portolan_core::plan::NodePortAddresses;

use super::*;

#[test]
fn the_nodes_addresses_change_the_plan_and_only_its_own_node_counts() {
    let mut state = state_of([]);
    for family in IpFamily::ALL {
        state.committed(family);
    }
    state.handle(Event::Node(Change::Applied(node("n2", &["192.0.2.2"]))));
    assert!(state.changes(V4).is_empty());
    state.handle(Event::Node(Change::Applied(node("n1", &["192.0.2.1"]))));
    assert!(state.changes(V4).old_node().is_some());
    assert!(state.changes(V6).is_empty());
    state.committed(V4);
    state.handle(Event::Node(Change::Deleted("n1".into())));
    assert!(state.changes(V4).is_empty(), "a deleted Node keeps its last state");
}

fn cidrs(state: &State, family: IpFamily) -> String {
    let cidrs = &state.plan(family).node.service_cidrs;
    cidrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn service_cidrs_of_all_objects_are_in_both_plans_at_once() {
    let mut state = state_of([service_cidr("kubernetes", &["10.96.0.0/16", "fd00:9::/112"])]);
    commit(&mut state);
    assert_eq!((&*cidrs(&state, V4), &*cidrs(&state, V6)), ("10.96.0.0/16", "fd00:9::/112"));
    happen(&mut state, [service_cidr("more", &["10.100.0.0/24", "10.96.8.0/24"])]);
    assert_eq!(cidrs(&state, V4), "10.96.0.0/16 10.100.0.0/24");
    let old = state.changes(V4).old_node().expect("the change is to be applied");
    assert_eq!(old.service_cidrs.len(), 1);
    assert!(state.changes(V6).is_empty(), "nothing of its family changed");
}

#[test]
fn deleted_service_cidr_leaves_the_ranges_of_others() {
    let both =
        || [service_cidr("a", &["10.96.0.0/16"]), service_cidr("b", &["10.96.0.0/16", "10.97.0.0/24"])];
    let mut state = state_of(both());
    happen(&mut state, [Event::ServiceCidr(Change::Deleted("b".into()))]);
    assert_eq!(cidrs(&state, V4), "10.96.0.0/16");
    happen(&mut state, [Event::ServiceCidr(Change::Replaced(vec![]))]);
    assert_eq!(cidrs(&state, V4), "");
}

#[test]
fn a_cluster_without_service_cidrs_is_ready_without_them() {
    assert!(state_of([]).is_ready());
}

#[test]
fn labels_and_taints_of_the_node_change_no_plan() {
    let mut state = state_of([in_zone("za"), web().applied(), pods("1@n1~za 2@n2~zb")]);
    commit(&mut state);
    let leaving = Node { leaving: true, zone: Some("za".into()), ..node("n1", &["192.0.2.1"]) };
    happen(&mut state, [Event::Node(Change::Applied(leaving))]);
    for family in IpFamily::ALL {
        assert!(state.changes(family).is_empty());
    }
    assert!(state.node().unwrap().leaving, "but it is known, for health checks");
}

#[test]
fn list_without_the_node_keeps_its_last_state() {
    let mut state = state_of([in_zone("za"), web().applied(), pods("1@n1~za 2@n2~zb")]);
    happen(&mut state, [Event::Node(Change::Replaced(vec![]))]);
    assert_eq!(lists(planned(&state, V4, "ns/web", "")).0, "1");
}

#[test]
fn bind_address_overrides_the_node_ip_of_its_family() {
    let config = NodeConfig { bind_address: Some("192.0.2.77".parse().unwrap()), ..NodeConfig::new("n1") };
    let mut state = State::new(config);
    happen(&mut state, [Event::Node(Change::Applied(node("n1", &["192.0.2.1", "2001:db8::1"])))]);
    let within = |net: &str| NodePortAddresses::Within(vec![net.parse().unwrap()]);
    assert_eq!(state.plan(V4).node.node_port_addresses, within("192.0.2.77/32"));
    assert_eq!(state.plan(V6).node.node_port_addresses, within("2001:db8::1/128"));
}

#[test]
fn external_ips_are_ignored_if_disabled() {
    for (allow_external_ips, count) in [(true, 1), (false, 0)] {
        let mut state = State::new(NodeConfig { allow_external_ips, ..NodeConfig::new("n1") });
        happen(&mut state, [web().external_ip("203.0.113.9").applied(), pods("1@n1")]);
        let external: usize = state.plan(V4).service_ports.values().map(|port| port.external_ips.len()).sum();
        assert_eq!(external, count);
    }
}

#[test]
fn reconfiguration_keeps_node_name_and_external_ips_setting() {
    let mut state = state_of([service_cidr("kubernetes", &["10.96.0.0/16"]), web().applied(), pods("1@n1")]);
    commit(&mut state);
    let new = NodeConfig {
        node_name: "n2".into(),
        masquerade_all: true,
        allow_external_ips: false,
        ..NodeConfig::new("n1")
    };
    state.reconfigure(new.clone());
    state.prepare();
    assert!(state.plan(V4).node.masquerade_all);
    assert_eq!(cidrs(&state, V4), "10.96.0.0/16");
    assert!(state.changes(V4).old_node().is_some());
    assert_eq!(state.changes(V4).len(), 0, "no Service changed");
    commit(&mut state);
    state.reconfigure(new);
    assert!(state.changes(V4).is_empty(), "the same configuration again");
}

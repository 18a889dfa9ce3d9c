//! Health checks of load balancers for a Service on this node.

use std::collections::BTreeMap;

use portolan_core::event::ServiceType;

use super::*;

/// The changes since the last call: port and count by Service, nothing for a removed one.
fn changed(state: &mut State) -> BTreeMap<String, Option<(u16, usize)>> {
    let checks = state.committed(V4).health_checks.into_iter();
    checks.map(|(name, check)| (name.to_string(), check.map(|c| (c.port, c.local_endpoints)))).collect()
}

fn one(port: u16, local_endpoints: usize) -> BTreeMap<String, Option<(u16, usize)>> {
    BTreeMap::from([("ns/web".to_owned(), Some((port, local_endpoints)))])
}

fn balanced() -> ServiceBuilder {
    web().service_type(ServiceType::LoadBalancer).external_local().health_check_node_port(32000)
}

#[test]
fn only_a_load_balancer_with_the_local_policy_has_a_health_check() {
    let rows = [
        ("a load balancer, Local", balanced(), true),
        (
            "with the Cluster policy",
            web().service_type(ServiceType::LoadBalancer).health_check_node_port(32000),
            false,
        ),
        ("a node port Service", balanced().service_type(ServiceType::NodePort), false),
        (
            "a cluster IP Service with an external IP",
            web().external_ip("203.0.113.1").external_local().health_check_node_port(32000),
            false,
        ),
        ("without a port to check", web().service_type(ServiceType::LoadBalancer).external_local(), false),
        ("with port 0", balanced().health_check_node_port(0), false),
        (
            "internal Local is another matter",
            web().service_type(ServiceType::LoadBalancer).internal_local().health_check_node_port(32000),
            false,
        ),
    ];
    for (rule, web, is_checked) in rows {
        let mut state = state_of([web.applied(), pods("1@n1")]);
        assert_eq!(changed(&mut state), if is_checked { one(32000, 1) } else { BTreeMap::new() }, "{rule}");
        let ports = state.plan(V4).service_ports.values().map(|port| port.health_check_node_port);
        assert!(ports.eq([is_checked.then_some(32000)]), "{rule}");
    }
}

#[test]
fn ready_endpoints_on_this_node_count_once_each() {
    let rows = [
        ("those here", "1@n1 2@n1 3@n2", 2),
        ("none here", "3@n2", 0),
        ("of no known node", "1 2@n2", 0),
        ("unready ones do not count", "1@n1/unready 2@n1", 1),
        ("terminating ones do not count, though they may still be used", "1@n1/serving", 0),
        ("ready ones count even while they terminate", "1@n1/leaving", 1),
        ("hints change nothing", "1@n1~zb 2@n2~za", 1),
    ];
    for (rule, endpoints, count) in rows {
        let mut state = state_of([in_zone("za"), balanced().applied(), pods(endpoints)]);
        assert_eq!(changed(&mut state), one(32000, count), "{rule}");
    }
}

#[test]
fn an_address_counts_once_over_ports_and_slices() {
    let first = with_endpoints(slice("ns/web-1", "web").port("a", Tcp, 80).port("b", Tcp, 81), "1@n1 2@n1");
    let second = with_endpoints(slice("ns/web-2", "web").port("c", Udp, 80), "2@n1 3@n1");
    let portless = with_endpoints(slice("ns/web-3", "web"), "4@n1");
    let other_family = slice("ns/web-4", "web").port("a", Tcp, 80).on("n1", "fd00::5");
    let slices = [first, second, portless, other_family].map(SliceBuilder::applied);
    let mut state = state_of(std::iter::once(balanced().applied()).chain(slices));
    assert_eq!(changed(&mut state), one(32000, 3));
}

#[test]
fn slices_that_disagree_count_as_they_do_for_traffic() {
    let say = |name: &str, words: &str| with_endpoints(slice(name, "web").port("", Tcp, 80), words).applied();
    let rows = [
        ("the running one wins over the terminating", ["1@n1", "1@n1/serving"], 1),
        ("in either order", ["1@n1/serving", "1@n1"], 1),
        ("of this node in one", ["1@n1", "1@n2"], 1),
        ("of this node in the other", ["1@n2", "1@n1"], 1),
        ("ready in one", ["1@n1", "1@n1/unready"], 1),
        ("ready in the other", ["1@n1/unready", "1@n1"], 1),
        ("ready elsewhere, and here not", ["1@n1/unready", "1@n2"], 0),
    ];
    for (rule, [first, second], count) in rows {
        let mut state = state_of([balanced().applied(), say("ns/web-1", first), say("ns/web-2", second)]);
        assert_eq!(changed(&mut state), one(32000, count), "{rule}");
    }
}

#[test]
fn changed_health_check_is_reported_after_commit() {
    let mut state = state_of([balanced().applied(), pods("1@n1")]);
    assert_eq!(changed(&mut state), one(32000, 1));
    assert_eq!(changed(&mut state), BTreeMap::new(), "nothing new");
    happen(&mut state, [deleted_slice("ns/web-1")]);
    assert_eq!(changed(&mut state), one(32000, 0), "the last slice is gone");
    happen(&mut state, [pods("1@n1")]);
    assert_eq!(changed(&mut state), one(32000, 1));
    happen(&mut state, [pods("1@n1/serving")]);
    assert_eq!(changed(&mut state), one(32000, 0));
    happen(&mut state, [balanced().health_check_node_port(32001).applied()]);
    assert_eq!(changed(&mut state), one(32001, 0));
    let gone = || BTreeMap::from([("ns/web".to_owned(), None)]);
    happen(&mut state, [web().applied()]);
    assert_eq!(changed(&mut state), gone(), "no load balancer any more");
    happen(&mut state, [balanced().applied()]);
    assert_eq!(changed(&mut state), one(32000, 0));
    happen(&mut state, [deleted_service("ns/web")]);
    assert_eq!(changed(&mut state), gone());
}

#[test]
fn each_family_has_its_own_check() {
    let dual = service("ns/web", "10.96.0.1,fd00::1").port("", Tcp, 80).external_local();
    let dual = dual.service_type(ServiceType::LoadBalancer).health_check_node_port(32000);
    let v6 = slice("ns/web-6", "web").port("", Tcp, 80).on("n1", "fd00::5").on("n1", "fd00::6");
    let mut state = state_of([dual.applied(), pods("1@n1"), v6.applied()]);
    let counts = [V4, V6].map(|family| state.committed(family).health_checks[0].1.unwrap().local_endpoints);
    assert_eq!(counts, [1, 2]);
}

//! The rules of planning, one scenario each.

use portolan_core::address::{IpFamily, Protocol};
use portolan_core::event::{Change, Conditions, Event};
use portolan_core::node::NodeConfig;
use portolan_core::plan::ServicePort;
use portolan_core::{ServicePortName, State};
use portolan_testkit::objects::{empty_lists, ip, node, object_name, service, slice};

use Protocol::{Sctp, Tcp, Udp};

const SERVING_ONLY: Conditions = Conditions { ready: false, serving: true, terminating: true };
const UNREADY: Conditions = Conditions { ready: false, serving: false, terminating: false };
const READY_AND_TERMINATING: Conditions = Conditions { ready: true, serving: true, terminating: true };

fn state_of(events: impl IntoIterator<Item = Event>) -> State {
    let mut state = State::new(NodeConfig::new("n1"));
    empty_lists().into_iter().chain(events).for_each(|event| state.handle(event));
    state.prepare();
    state
}

fn planned<'a>(state: &'a State, family: IpFamily, service: &str, port: &str) -> Option<&'a ServicePort> {
    planned_l4(state, family, service, port, Tcp)
}

fn planned_l4<'a>(
    state: &'a State,
    family: IpFamily,
    service: &str,
    port: &str,
    protocol: Protocol,
) -> Option<&'a ServicePort> {
    let name = ServicePortName { service: object_name(service), port: port.into(), protocol };
    state.plan(family).service_ports.get(&name).map(AsRef::as_ref)
}

fn endpoints(port: Option<&ServicePort>) -> String {
    port.map_or_else(|| "absent".to_owned(), |port| format!("{:?}", port.cluster_endpoints))
}

#[test]
fn an_endpoint_is_used_when_its_conditions_allow_it() {
    let cases = [
        (
            "ready ones alone, while there are any",
            vec![Conditions::READY, UNREADY, SERVING_ONLY],
            "[10.244.0.1:80]",
        ),
        ("serving and terminating ones when none is ready", vec![UNREADY, SERVING_ONLY], "[10.244.0.2:80]"),
        (
            "ready ones even if they terminate",
            vec![READY_AND_TERMINATING, Conditions::READY],
            "[10.244.0.1:80, 10.244.0.2:80]",
        ),
        ("none when none can", vec![UNREADY], "[]"),
        (
            "not one that terminates and no longer serves",
            vec![Conditions { ready: false, serving: false, terminating: true }],
            "[]",
        ),
        (
            "not one that serves without being ready or terminating",
            vec![Conditions { ready: false, serving: true, terminating: false }],
            "[]",
        ),
    ];
    for (rule, conditions, expected) in cases {
        let mut pods = slice("ns/web-1", "web").port("", Tcp, 80);
        for (i, conditions) in (1..).zip(conditions) {
            pods = pods.endpoint(&format!("10.244.0.{i}"), Some("n2"), conditions);
        }
        let state = state_of([service("ns/web", "10.96.0.1").port("", Tcp, 80).applied(), pods.applied()]);
        assert_eq!(endpoints(planned(&state, IpFamily::V4, "ns/web", "")), expected, "{rule}");
    }
}

#[test]
fn slices_of_one_service_are_merged_by_port_name_and_protocol() {
    let state = state_of([
        service("ns/web", "10.96.0.1")
            .port("http", Tcp, 80)
            .port("dns", Udp, 53)
            .port("sctp", Sctp, 53)
            .applied(),
        slice("ns/web-b", "web")
            .port("http", Tcp, 8081)
            .port("dns", Udp, 5353)
            .on("n2", "10.244.0.9")
            .applied(),
        slice("ns/web-a", "web")
            .port("http", Tcp, 8080)
            .on("n1", "10.244.0.7")
            .anywhere("10.244.0.8")
            .applied(),
        slice("ns/other-1", "other").port("http", Tcp, 8080).on("n1", "10.244.0.1").applied(),
        slice("elsewhere/web-1", "web").port("http", Tcp, 8080).on("n1", "10.244.0.2").applied(),
    ]);
    let http = planned(&state, IpFamily::V4, "ns/web", "http");
    assert_eq!(endpoints(http), "[10.244.0.7:8080 local, 10.244.0.8:8080 anywhere, 10.244.0.9:8081]");
    let dns = planned_l4(&state, IpFamily::V4, "ns/web", "dns", Udp);
    assert_eq!(endpoints(dns), "[10.244.0.9:5353]");
    assert_eq!(endpoints(planned_l4(&state, IpFamily::V4, "ns/web", "sctp", Sctp)), "[]");
}

#[test]
fn of_two_entries_for_one_address_the_running_one_counts() {
    let entry = |slice_name, node, conditions| {
        slice(slice_name, "web").port("", Tcp, 80).endpoint("10.244.0.1", Some(node), conditions).applied()
    };
    let cases = [
        ("the later one", ("n2", Conditions::READY), ("n1", Conditions::READY), "[10.244.0.1:80 local]"),
        (
            "the earlier if the later terminates",
            ("n1", Conditions::READY),
            ("n2", SERVING_ONLY),
            "[10.244.0.1:80 local]",
        ),
        (
            "the later if the earlier terminates",
            ("n2", SERVING_ONLY),
            ("n1", Conditions::READY),
            "[10.244.0.1:80 local]",
        ),
        ("the later even if it is not ready", ("n1", Conditions::READY), ("n1", UNREADY), "[]"),
    ];
    for (rule, first, second, expected) in cases {
        let slices = [entry("ns/web-1", first.0, first.1), entry("ns/web-2", second.0, second.1)];
        let web = service("ns/web", "10.96.0.1").port("", Tcp, 80).applied();
        for order in [[0, 1], [1, 0]] {
            let events = order.map(|i: usize| slices[i].clone());
            let state = state_of(std::iter::once(web.clone()).chain(events));
            assert_eq!(endpoints(planned(&state, IpFamily::V4, "ns/web", "")), expected, "{rule}, {order:?}");
        }
    }
}

#[test]
fn each_family_has_its_own_addresses_and_endpoints() {
    let state = state_of([
        service("ns/web", "10.96.0.1,fd00:10:96::1")
            .port("", Tcp, 80)
            .node_port(30080)
            .external_ip("2001:db8:113::1")
            .load_balancer_ip("203.0.113.1")
            .applied(),
        slice("ns/web-4", "web").port("", Tcp, 80).on("n1", "10.244.0.1").applied(),
        slice("ns/web-6", "web").port("", Tcp, 80).on("n1", "fd00:10:244::1").applied(),
    ]);
    let v4 = planned(&state, IpFamily::V4, "ns/web", "").unwrap();
    let v6 = planned(&state, IpFamily::V6, "ns/web", "").unwrap();
    assert_eq!(
        format!("{v4:?}"),
        "port 80 cluster 10.96.0.1 lb 203.0.113.1 node-port 30080 → [10.244.0.1:80 local]"
    );
    assert_eq!(
        format!("{v6:?}"),
        "port 80 cluster fd00:10:96::1 external 2001:db8:113::1 node-port 30080 → [[fd00:10:244::1]:80 local]"
    );
    let single = state_of([service("ns/web", "10.96.0.1").port("", Tcp, 80).node_port(30080).applied()]);
    assert_eq!(
        planned(&single, IpFamily::V6, "ns/web", ""),
        None,
        "no cluster IP of a family, nothing in it"
    );
}

#[test]
fn slices_wait_for_their_service_and_outlive_it() {
    let pods = || slice("ns/web-1", "web").port("", Tcp, 80).on("n1", "10.244.0.1").applied();
    let web = || service("ns/web", "10.96.0.1").port("", Tcp, 80);
    let mut state = state_of([pods()]);
    assert_eq!(planned(&state, IpFamily::V4, "ns/web", ""), None);
    for _ in 0..2 {
        state.handle(web().applied());
        state.prepare();
        assert_eq!(endpoints(planned(&state, IpFamily::V4, "ns/web", "")), "[10.244.0.1:80 local]");
        state.handle(Event::Service(Change::Deleted(object_name("ns/web"))));
        state.prepare();
        assert_eq!(planned(&state, IpFamily::V4, "ns/web", ""), None);
    }
}

#[test]
fn a_slice_that_moves_to_another_service_leaves_the_first() {
    let of = |owner: &str| slice("ns/s", owner).port("", Tcp, 80).on("n1", "10.244.0.1").applied();
    let mut state = state_of([
        service("ns/a", "10.96.0.1").port("", Tcp, 80).applied(),
        service("ns/b", "10.96.0.2").port("", Tcp, 80).applied(),
        of("a"),
    ]);
    state.handle(of("b"));
    state.prepare();
    assert_eq!(endpoints(planned(&state, IpFamily::V4, "ns/a", "")), "[]");
    assert_eq!(endpoints(planned(&state, IpFamily::V4, "ns/b", "")), "[10.244.0.1:80 local]");
}

#[test]
fn nobody_takes_a_cluster_ip_by_naming_it_as_external() {
    let thief =
        service("evil/web", "10.96.0.66").port("", Tcp, 443).created(1).external_ip("10.96.0.1").applied();
    let owner = service("default/kubernetes", "10.96.0.1").port("https", Tcp, 443).created(9).applied();
    for events in [[thief.clone(), owner.clone()], [owner, thief]] {
        let mut state = state_of(events);
        let kubernetes = planned(&state, IpFamily::V4, "default/kubernetes", "https").unwrap();
        assert_eq!(kubernetes.cluster_ip, Some(ip("10.96.0.1")));
        let thief = planned(&state, IpFamily::V4, "evil/web", "").unwrap();
        assert!(thief.external_ips.is_empty());
        let contests = state.take_contests();
        assert_eq!(contests.len(), 1);
        assert_eq!(contests[0].loser.to_string(), "evil/web");
    }
}

#[test]
fn an_address_goes_to_the_next_claimant_when_its_owner_leaves() {
    let claim = |name: &str, own: &str, created| {
        service(name, own).port("", Tcp, 80).created(created).external_ip("203.0.113.1").applied()
    };
    let mut state = state_of([claim("ns/old", "10.96.0.1", 1), claim("ns/new", "10.96.0.2", 2)]);
    assert!(planned(&state, IpFamily::V4, "ns/new", "").unwrap().external_ips.is_empty());
    for family in IpFamily::ALL {
        state.committed(family);
    }
    state.handle(Event::Service(Change::Deleted(object_name("ns/old"))));
    state.prepare();
    assert_eq!(*planned(&state, IpFamily::V4, "ns/new", "").unwrap().external_ips, [ip("203.0.113.1")]);
    let mut changed: Vec<_> =
        state.changes(IpFamily::V4).service_ports().map(|(name, _)| name.to_string()).collect();
    changed.sort();
    assert_eq!(changed, ["ns/new", "ns/old"]);
}

#[test]
fn a_change_that_is_taken_back_before_it_was_applied_is_no_change() {
    let with = |port| service("ns/web", "10.96.0.1").port("", Tcp, port).applied();
    let mut state = state_of([with(80)]);
    state.committed(IpFamily::V4);
    state.handle(with(81));
    state.prepare();
    assert_eq!(state.changes(IpFamily::V4).len(), 1);
    state.handle(with(80));
    state.prepare();
    assert!(state.changes(IpFamily::V4).is_empty());
}

#[test]
fn changes_stay_until_their_family_is_committed() {
    let mut state = state_of([]);
    for family in IpFamily::ALL {
        state.committed(family);
    }
    state.handle(service("ns/web", "10.96.0.1,fd00::1").port("", Tcp, 80).applied());
    state.prepare();
    state.committed(IpFamily::V4);
    assert!(state.changes(IpFamily::V4).is_empty());
    assert_eq!(state.changes(IpFamily::V6).len(), 1);
    state.forget_applied(IpFamily::V6);
    assert!(state.changes(IpFamily::V6).is_complete());
}

#[test]
fn nothing_is_ready_before_all_lists_have_come() {
    let mut state = State::new(NodeConfig::new("n1"));
    for event in empty_lists() {
        assert!(!state.is_ready());
        state.handle(event);
    }
    assert!(state.is_ready());
}

#[test]
fn trigger_times_are_handed_over_once_and_not_for_deleted_slices() {
    let pods = |name: &str, seconds| {
        slice(name, "web").port("", Tcp, 80).on("n1", "10.244.0.1").triggered(seconds).applied()
    };
    let mut state = state_of([pods("ns/web-1", 5)]);
    state.handle(pods("ns/web-1", 7));
    assert_eq!(state.committed(IpFamily::V4).triggers.len(), 2);
    assert_eq!(state.committed(IpFamily::V4).triggers.len(), 0);
    let mut more = pods("ns/web-1", 7);
    if let Event::EndpointSlice(Change::Applied(slice)) = &mut more {
        slice.endpoints.clear();
    }
    state.handle(more);
    assert_eq!(state.committed(IpFamily::V4).triggers.len(), 0, "the same trigger is observed once");
    for seconds in 100..1_000 {
        state.handle(pods("ns/web-1", seconds));
    }
    assert!(state.committed(IpFamily::V4).triggers.len() <= 100, "a long failure must not pile them up");
    state.handle(pods("ns/web-1", 9));
    state.handle(Event::EndpointSlice(Change::Deleted(object_name("ns/web-1"))));
    assert_eq!(state.committed(IpFamily::V4).triggers.len(), 0);
}

#[test]
fn the_nodes_addresses_change_the_plan_and_only_its_own_node_counts() {
    let mut state = state_of([]);
    for family in IpFamily::ALL {
        state.committed(family);
    }
    state.handle(Event::Node(Change::Applied(node("n2", &["192.0.2.2"]))));
    assert!(state.changes(IpFamily::V4).is_empty());
    state.handle(Event::Node(Change::Applied(node("n1", &["192.0.2.1"]))));
    assert!(state.changes(IpFamily::V4).old_node().is_some());
    assert!(state.changes(IpFamily::V6).is_empty());
    state.committed(IpFamily::V4);
    state.handle(Event::Node(Change::Deleted("n1".into())));
    assert!(state.changes(IpFamily::V4).is_empty(), "a deleted Node keeps the last it said");
}

#[test]
fn a_ports_number_may_change_but_another_name_is_another_port() {
    let mut state = state_of([service("ns/web", "10.96.0.1").port("a", Tcp, 80).applied()]);
    state.committed(IpFamily::V4);
    state.handle(service("ns/web", "10.96.0.1").port("a", Tcp, 81).applied());
    state.prepare();
    assert_eq!(state.changes(IpFamily::V4).len(), 1);
    state.handle(service("ns/web", "10.96.0.1").port("b", Tcp, 81).applied());
    state.prepare();
    assert_eq!(state.changes(IpFamily::V4).len(), 2);
    assert_eq!(planned(&state, IpFamily::V4, "ns/web", "a"), None);
}

#[test]
fn a_port_that_a_manifest_lists_twice_counts_once_and_leaves_nothing_behind() {
    let twice = service("ns/web", "10.96.0.1").port("a", Tcp, 80).port("a", Tcp, 80).applied();
    let other = service("ns/zz", "10.96.0.9").port("", Tcp, 80).external_ip("10.96.0.1").applied();
    let mut state = state_of([twice, other]);
    assert!(planned(&state, IpFamily::V4, "ns/zz", "").unwrap().external_ips.is_empty());
    state.handle(Event::Service(Change::Deleted(object_name("ns/web"))));
    state.prepare();
    assert_eq!(*planned(&state, IpFamily::V4, "ns/zz", "").unwrap().external_ips, [ip("10.96.0.1")]);
}

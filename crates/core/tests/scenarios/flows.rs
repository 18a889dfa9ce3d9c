//! Which remembered UDP flows a change leaves stale.
//!
//! One Service, `ns/dns`, on port 53 of a cluster IP, a load-balancer address and an external IP,
//! and on node port 30053; its endpoints listen on 5353. A flow is written `address:port > endpoint`.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use portolan_core::changes::ChangeSet;
use portolan_core::flows::{Flow, FlowCheck};

use super::*;

#[path = "flows/addresses.rs"]
mod addresses;

const CLUSTER_IP: &str = "10.96.0.10:53";
const LOAD_BALANCER: &str = "203.0.113.11:53";
const EXTERNAL: &str = "203.0.113.10:53";
const NODE_PORT: &str = "192.0.2.1:30053";
const FRONTENDS: [&str; 4] = [CLUSTER_IP, LOAD_BALANCER, EXTERNAL, NODE_PORT];

fn dns() -> ServiceBuilder {
    dns_on(Udp)
}

fn dns_on(protocol: Protocol) -> ServiceBuilder {
    let bare = service("ns/dns", "10.96.0.10").port("", protocol, 53).node_port(30053);
    bare.external_ip("203.0.113.10").load_balancer_ip("203.0.113.11")
}

fn servers(words: &str) -> Event {
    servers_on(Udp, words)
}

fn servers_on(protocol: Protocol, words: &str) -> Event {
    with_endpoints(slice("ns/dns-1", "dns").port("", protocol, 5353), words).applied()
}

/// What to check after `then`, if `before` was programmed.
fn check(before: Vec<Event>, then: Vec<Event>) -> FlowCheck {
    let mut state = state_of(before);
    commit(&mut state);
    happen(&mut state, then);
    FlowCheck::after(state.plan(V4), state.changes(V4))
}

/// What to check if the previous state of the kernel is unknown.
fn check_all(events: Vec<Event>) -> FlowCheck {
    let state = state_of(events);
    FlowCheck::after(state.plan(V4), &ChangeSet::complete())
}

/// A flow from a client to `to`, answered by the endpoint of this number, or by `to` itself for 0.
fn flow(to: &str, endpoint: u8) -> Flow {
    let destination: SocketAddr = to.parse().unwrap();
    let answers = match endpoint {
        0 => destination,
        number => SocketAddr::new([10, 244, 0, number].into(), 5353),
    };
    flow_between(destination, answers)
}

fn flow_between(destination: SocketAddr, reply_source: SocketAddr) -> Flow {
    let source = "198.51.100.1:40000".parse().unwrap();
    Flow { source, destination, reply_source, reply_destination: source }
}

/// The endpoints whose flows to `to` are stale, of 1 to 3; 0 for untranslated flows.
fn stale(check: &FlowCheck, to: &str) -> Vec<u8> {
    (0..4).filter(|number| check.is_stale(&flow(to, *number))).collect()
}

#[test]
fn flows_to_removed_endpoints_are_stale_on_every_address() {
    let rows = [
        ("one is removed", "1@n1 2@n2", "2@n2", vec![0, 1, 3]),
        ("one stops serving", "1@n1 2@n2", "1@n1/gone 2@n2", vec![0, 1, 3]),
        ("one is neither ready nor serving", "1@n1 2@n2", "1@n1/unready 2@n2", vec![0, 1, 3]),
        ("all are removed", "1@n1 2@n2", "", vec![0, 1, 2, 3]),
        ("a terminating one goes", "1@n1/serving 2@n2", "2@n2", vec![0, 1, 3]),
        ("all are replaced", "1@n1", "3@n1", vec![0, 1, 2]),
    ];
    for (rule, before, then, expected) in rows {
        let check = check(vec![dns().applied(), servers(before)], vec![servers(then)]);
        for to in [CLUSTER_IP, LOAD_BALANCER, EXTERNAL] {
            assert_eq!(stale(&check, to), expected, "{rule}, {to}");
        }
        // The number of a node port may be another host's, so only what was ours is judged.
        let was_ours = |number: &u8| *number == 0 || before.contains(&number.to_string());
        let expected: Vec<u8> = expected.into_iter().filter(was_ours).collect();
        assert_eq!(stale(&check, NODE_PORT), expected, "{rule}, node port");
        for elsewhere in
            ["10.96.0.10:54", "203.0.113.11:54", "10.96.0.11:53", "192.0.2.1:30054", "192.0.2.1:53"]
        {
            assert_eq!(stale(&check, elsewhere), Vec::<u8>::new(), "{rule}, {elsewhere}");
        }
    }
}

#[test]
fn serving_endpoint_keeps_its_flows_although_new_ones_go_elsewhere() {
    let rows = [
        ("it terminates and still serves", "1@n1 2@n2", "1@n1/serving 2@n2"),
        ("it is not ready but answers", "1@n1 2@n2", "1@n1/answering 2@n2"),
        ("all terminate", "1@n1 2@n2", "1@n1/serving 2@n2/serving"),
        ("another joins", "1@n1", "1@n1 2@n2"),
        ("another becomes ready", "1@n1 2@n2/serving", "1@n1 2@n2"),
        ("hints lead elsewhere", "1@n1 2@n2", "1@n1~zb 2@n2~za"),
        ("it is ready and not serving", "1@n1 2@n2", "1@n1/contrary~zb 2@n2~za"),
    ];
    for (rule, before, then) in rows {
        let check = check(vec![in_zone("za"), dns().applied(), servers(before)], vec![servers(then)]);
        assert!(check.is_empty(), "{rule}");
        let complete = check_all(vec![in_zone("za"), dns().applied(), servers(then)]);
        for to in FRONTENDS {
            assert!(!complete.is_stale(&flow(to, 1)), "{rule}, {to}");
        }
    }
}

#[test]
fn changed_policy_keeps_flows_to_serving_endpoints() {
    let policies = [
        ("both", dns()),
        ("internal Local", dns().internal_local()),
        ("external Local", dns().external_local()),
        ("both Local", dns().internal_local().external_local()),
    ];
    for (from, before) in &policies {
        for (to, then) in &policies {
            let base = vec![before.clone().applied(), servers("1@n1 2@n2")];
            let check = check(base, vec![then.clone().applied()]);
            assert!(check.is_empty(), "{from} to {to}");
        }
    }
}

#[test]
fn endpoint_on_another_port_is_another_endpoint() {
    let moved = with_endpoints(slice("ns/dns-1", "dns").port("", Udp, 5454), "1@n1").applied();
    let check = check(vec![dns().applied(), servers("1@n1")], vec![moved]);
    for to in FRONTENDS {
        assert!(check.is_stale(&flow(to, 1)), "{to}, old port");
        let destination = to.parse().unwrap();
        assert!(
            !check.is_stale(&flow_between(destination, "10.244.0.1:5454".parse().unwrap())),
            "{to}, new port"
        );
    }
}

#[test]
fn flows_without_endpoint_are_stale_with_the_first_endpoint() {
    let rows = [
        ("the Service is new", vec![servers("1@n1")], vec![dns().applied()]),
        ("the first endpoint", vec![dns().applied()], vec![servers("1@n1")]),
        ("it becomes ready", vec![dns().applied(), servers("1@n1/unready")], vec![servers("1@n1")]),
        (
            "it becomes ready again, after all were gone",
            vec![dns().applied(), servers("1@n1/gone")],
            vec![servers("1@n1")],
        ),
        ("the only one terminates, and now serves", vec![dns().applied()], vec![servers("1@n1/serving")]),
    ];
    for (rule, before, then) in rows {
        let check = check(before, then);
        for to in FRONTENDS {
            assert!(check.is_stale(&flow(to, 0)), "{rule}, {to}");
            assert!(!check.is_stale(&flow(to, 1)), "{rule}, {to}");
        }
        assert!(!check.is_stale(&flow("10.96.0.10:54", 0)), "{rule}, another port");
    }
}

#[test]
fn service_without_endpoints_needs_no_flow_check() {
    assert!(check(vec![], vec![dns().applied()]).is_empty());
    assert!(check(vec![dns().applied()], vec![dns().internal_local().applied()]).is_empty());
    assert!(check(vec![dns().applied()], vec![deleted_service("ns/dns")]).is_empty());
    assert!(check(vec![dns().applied()], vec![servers("1@n1/unready")]).is_empty());
}

#[test]
fn service_that_loses_all_endpoints_and_gets_new_ones_has_no_stale_flow() {
    let mut state = state_of([dns().applied(), servers("1@n1")]);
    commit(&mut state);
    let mut step = |words: &str| {
        happen(&mut state, [servers(words)]);
        let check = FlowCheck::after(state.plan(V4), state.changes(V4));
        commit(&mut state);
        check
    };
    let none = step("");
    assert_eq!(stale(&none, CLUSTER_IP), [0, 1, 2, 3]);
    let back = step("1@n1");
    assert_eq!(stale(&back, CLUSTER_IP), [0, 2, 3]);
}

#[test]
fn tcp_and_sctp_flows_are_never_checked() {
    for protocol in [Tcp, Sctp] {
        let base = || vec![dns_on(protocol).applied(), servers_on(protocol, "1@n1 2@n2")];
        let changes = [
            vec![servers_on(protocol, "2@n2")],
            vec![servers_on(protocol, "")],
            vec![deleted_service("ns/dns")],
            vec![dns_on(protocol).external_local().applied()],
        ];
        for then in changes {
            assert!(check(base(), then).is_empty(), "{protocol}");
        }
        assert!(check_all(base()).is_empty(), "{protocol}");
    }
    let turned = check(vec![dns_on(Udp).applied(), servers("1@n1")], vec![dns_on(Tcp).applied()]);
    assert!(turned.is_stale(&flow(CLUSTER_IP, 1)), "but those of UDP are when a port becomes one of TCP");
}

#[test]
fn full_sync_checks_all_udp_addresses_of_the_plan() {
    let cidr = service_cidr("kubernetes", &["10.96.0.0/16"]);
    let check = check_all(vec![cidr, dns().applied(), servers("1@n1 2@n2/serving")]);
    for to in FRONTENDS {
        assert_eq!(stale(&check, to), [0, 3], "{to}");
    }
    let in_question: BTreeSet<_> = check.destinations().map(|asked| (asked.ip, asked.port)).collect();
    let vips = [CLUSTER_IP, LOAD_BALANCER, EXTERNAL].map(|vip| vip.parse::<SocketAddr>().unwrap());
    let frontends = vips.map(|vip| (Some(vip.ip()), vip.port())).into_iter().chain([(None, 30053)]);
    assert_eq!(in_question, frontends.collect());
}

/// The Service may belong to another proxy, or was deleted while no proxy ran; both look the same.
#[test]
fn flows_to_cluster_ips_of_unknown_services_stay() {
    let cidr = |cidrs: &[&str]| service_cidr("kubernetes", cidrs);
    let base = || vec![cidr(&["10.96.0.0/16"]), dns().applied(), servers("1@n1 2@n2")];
    let rows = [
        ("a start", check_all(base())),
        ("a loss of our own", check(base(), vec![servers("2@n2")])),
        ("an address of our own that goes", check(base(), vec![deleted_service("ns/dns")])),
    ];
    for (rule, check) in rows {
        assert!(check.is_stale(&flow(CLUSTER_IP, 3)), "{rule}");
        assert_eq!(stale(&check, "10.96.0.99:53"), Vec::<u8>::new(), "{rule}, inside the range");
        assert_eq!(stale(&check, "10.97.0.99:53"), Vec::<u8>::new(), "{rule}, outside of it");
    }
}

#[test]
fn changed_service_cidrs_need_no_flow_check() {
    let cidr = |cidrs: &[&str]| service_cidr("kubernetes", cidrs);
    let base = || vec![dns().applied(), servers("1@n1")];
    assert!(check(base(), vec![cidr(&["10.96.0.0/16"])]).is_empty(), "become known late");
    let known = || base().into_iter().chain([cidr(&["10.96.0.0/16", "10.97.0.0/24"])]).collect();
    assert!(check(known(), vec![cidr(&["10.0.0.0/8"])]).is_empty(), "grow");
    assert!(check(known(), vec![cidr(&["10.96.0.0/16"])]).is_empty(), "shrink");
    let with_a_loss = check(known(), vec![cidr(&["10.0.0.0/8"]), deleted_service("ns/dns")]);
    for to in FRONTENDS {
        assert!(with_a_loss.is_stale(&flow(to, 1)), "{to}");
    }
    assert!(!with_a_loss.is_stale(&flow("10.96.0.99:53", 1)), "another proxy's");
}

#[test]
fn ranges_affinity_and_the_node_itself_do_not_make_flows_stale() {
    let base = || vec![dns().applied(), servers("1@n1 2@n2")];
    let changes = [
        vec![dns().source_range("10.0.0.0/8").applied()],
        vec![dns().affinity(std::time::Duration::from_secs(5)).applied()],
        vec![Event::Node(Change::Applied(node("n1", &["192.0.2.1"])))],
    ];
    for then in changes {
        assert!(check(base(), then).is_empty());
    }
}

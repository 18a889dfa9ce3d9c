//! Addresses that come, go, and pass from one Service to another.

use super::*;

#[test]
fn added_or_removed_address_is_checked() {
    let bare = || service("ns/dns", "10.96.0.10").port("", Udp, 53);
    let serving = |service: ServiceBuilder| vec![service.applied(), servers("1@n1")];
    let rows = [
        ("external IP", bare().external_ip("203.0.113.10"), EXTERNAL),
        ("load-balancer address", bare().load_balancer_ip("203.0.113.11"), LOAD_BALANCER),
        ("node port", bare().node_port(30053), NODE_PORT),
        ("another cluster IP", service("ns/dns", "10.96.0.11").port("", Udp, 53), "10.96.0.11:53"),
        ("another port", service("ns/dns", "10.96.0.10").port("", Udp, 54), "10.96.0.10:54"),
    ];
    for (what, with, to) in rows {
        let added = check(serving(bare()), vec![with.clone().applied()]);
        assert!(added.is_stale(&flow(to, 0)), "{what} is new, and nothing translated it before");
        assert!(!added.is_stale(&flow(to, 1)), "{what} is new and leads to its endpoint");
        let removed = check(serving(with), vec![bare().applied()]);
        assert!(removed.is_stale(&flow(to, 1)), "{what} is gone");
        assert!(!removed.is_stale(&flow(CLUSTER_IP, 1)), "{what} is gone, the cluster IP is not");
    }
}

#[test]
fn the_flows_of_a_deleted_service_are_stale() {
    let check = check(vec![dns().applied(), servers("1@n1 2@n2")], vec![deleted_service("ns/dns")]);
    for to in FRONTENDS {
        assert!(check.is_stale(&flow(to, 1)) && check.is_stale(&flow(to, 2)), "{to}");
    }
}

#[test]
fn flows_to_the_former_number_of_a_node_port_are_stale() {
    let on = |port: u16| service("ns/dns", "10.96.0.10").port("", Udp, 53).node_port(port).applied();
    let check = check(vec![on(30053), servers("1@n1")], vec![on(30054)]);
    assert!(check.is_stale(&flow("192.0.2.1:30053", 1)));
    assert!(check.is_stale(&flow("192.0.2.1:30054", 0)));
    assert!(!check.is_stale(&flow("192.0.2.1:30054", 1)));
    assert!(!check.is_stale(&flow(CLUSTER_IP, 1)));
}

#[test]
fn flows_of_other_programs_to_the_number_of_a_node_port_stay() {
    let check = check(vec![dns().applied(), servers("1@n1 2@n2")], vec![servers("2@n2")]);
    assert!(!check.is_empty());
    let mut passing = flow("203.0.113.77:30053", 0);
    passing.reply_destination = "192.0.2.1:40000".parse().unwrap();
    assert!(!check.is_stale(&passing), "it was masqueraded on its way to another host");
    let elsewhere = flow_between("203.0.113.77:30053".parse().unwrap(), "10.9.9.9:53".parse().unwrap());
    assert!(!check.is_stale(&elsewhere), "another program translated it");
}

#[test]
fn flows_of_an_address_with_a_new_owner_are_stale_unless_the_endpoint_is_kept() {
    let other_pods = with_endpoints(slice("ns/new-1", "new").port("", Udp, 5353), "2@n2").applied();
    let old = |exposed: bool| {
        let bare = service("ns/dns", "10.96.0.10").port("", Udp, 53);
        if exposed { bare.node_port(30053).external_ip("203.0.113.10") } else { bare }.applied()
    };
    let new = |exposed: bool| {
        let bare = service("ns/new", "10.96.0.20").port("", Udp, 53);
        if exposed { bare.node_port(30053).external_ip("203.0.113.10") } else { bare }.applied()
    };
    // Change sets have no order, so that one run could pass by luck.
    for round in 0..32 {
        let base = vec![old(true), new(false), servers("1@n1"), other_pods.clone()];
        let check = check(base, vec![old(false), new(true)]);
        for to in [EXTERNAL, NODE_PORT] {
            assert!(check.is_stale(&flow(to, 1)), "{to} leads to the old Service, round {round}");
            assert!(!check.is_stale(&flow(to, 2)), "{to} leads to the new one, round {round}");
        }
    }
}

#[test]
fn renamed_port_keeps_its_flows() {
    let named = |name: &str| dns_named(name).applied();
    let pods = |name: &str, words: &str| {
        with_endpoints(slice("ns/dns-1", "dns").port(name, Udp, 5353), words).applied()
    };
    for round in 0..32 {
        let check = check(vec![named("a"), pods("a", "1@n1 2@n2")], vec![named("b"), pods("b", "1@n1")]);
        for to in FRONTENDS {
            assert!(!check.is_stale(&flow(to, 1)), "{to}, round {round}");
            assert!(check.is_stale(&flow(to, 2)), "{to}, round {round}");
        }
    }
}

fn dns_named(name: &str) -> ServiceBuilder {
    let bare = service("ns/dns", "10.96.0.10").port(name, Udp, 53).node_port(30053);
    bare.external_ip("203.0.113.10").load_balancer_ip("203.0.113.11")
}

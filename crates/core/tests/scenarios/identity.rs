//! The identity of service ports, and the part of a Service in each family.

use super::*;

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
    let v4 = planned(&state, V4, "ns/web", "").unwrap();
    let v6 = planned(&state, V6, "ns/web", "").unwrap();
    assert_eq!(
        format!("{v4:?}"),
        "port 80 cluster 10.96.0.1 lb 203.0.113.1 node-port 30080 → [10.244.0.1:80 local]"
    );
    assert_eq!(
        format!("{v6:?}"),
        "port 80 cluster fd00:10:96::1 external 2001:db8:113::1 node-port 30080 → [[fd00:10:244::1]:80 local]"
    );
    let single = state_of([service("ns/web", "10.96.0.1").port("", Tcp, 80).node_port(30080).applied()]);
    assert_eq!(planned(&single, V6, "ns/web", ""), None, "no cluster IP of a family, nothing in it");
}

#[test]
fn port_keeps_its_identity_with_another_number_but_not_with_another_name() {
    let mut state = state_of([service("ns/web", "10.96.0.1").port("a", Tcp, 80).applied()]);
    state.committed(V4);
    state.handle(service("ns/web", "10.96.0.1").port("a", Tcp, 81).applied());
    state.prepare();
    assert_eq!(state.changes(V4).len(), 1);
    state.handle(service("ns/web", "10.96.0.1").port("b", Tcp, 81).applied());
    state.prepare();
    assert_eq!(state.changes(V4).len(), 2);
    assert_eq!(planned(&state, V4, "ns/web", "a"), None);
}

#[test]
fn wrong_family_addresses_and_ranges_stay_out_of_a_plan_in_both_directions() {
    let everything = |cluster_ip: &str| {
        service("ns/web", cluster_ip)
            .port("", Tcp, 80)
            .external_ip("203.0.113.1")
            .external_ip("2001:db8:113::1")
            .load_balancer_ip("203.0.113.2")
            .load_balancer_ip("2001:db8:113::2")
            .source_range("198.51.100.0/24")
            .source_range("2001:db8:51::/48")
            .applied()
    };
    let v4 = "port 80 cluster 10.96.0.1 lb 203.0.113.2 external 203.0.113.1 from [198.51.100.0/24] → []";
    let v6 =
        "port 80 cluster fd00::1 lb 2001:db8:113::2 external 2001:db8:113::1 from [2001:db8:51::/48] → []";
    let rows = [("10.96.0.1", v4, "absent"), ("fd00::1", "absent", v6), ("fd00::1,10.96.0.1", v4, v6)];
    for (cluster_ips, expected_v4, expected_v6) in rows {
        let state = state_of([everything(cluster_ips)]);
        assert_eq!(shown(&state, V4, "ns/web", ""), expected_v4, "{cluster_ips}");
        assert_eq!(shown(&state, V6, "ns/web", ""), expected_v6, "{cluster_ips}");
    }
}

#[test]
fn one_number_of_three_protocols_is_three_ports_with_their_own_endpoints() {
    let pod = |name: &str, protocol, words: &str| {
        with_endpoints(slice(name, "web").port("p", protocol, 80), words).applied()
    };
    let web = service("ns/web", "10.96.0.1").port("p", Tcp, 80).port("p", Udp, 80).port("p", Sctp, 80);
    let web = web.applied();
    let state = state_of([web, pod("ns/t", Tcp, "1"), pod("ns/u", Udp, "2"), pod("ns/s", Sctp, "3")]);
    let found = Protocol::ALL.map(|protocol| lists(planned_l4(&state, V4, "ns/web", "p", protocol)).0);
    assert_eq!(found, ["1", "2", "3"]);
}

#[test]
fn port_identity_is_namespace_name_port_name_and_protocol() {
    let base = || service("ns/web", "10.96.0.1").port("a", Tcp, 80);
    let rows = [
        (
            "another name",
            service("ns/web", "10.96.0.1").port("b", Tcp, 80),
            vec!["ns/web:a tcp", "ns/web:b tcp"],
        ),
        (
            "another protocol",
            service("ns/web", "10.96.0.1").port("a", Udp, 80),
            vec!["ns/web:a tcp", "ns/web:a udp"],
        ),
        ("another number", service("ns/web", "10.96.0.1").port("a", Tcp, 81), vec!["ns/web:a tcp"]),
        ("another cluster IP", service("ns/web", "10.96.0.2").port("a", Tcp, 80), vec!["ns/web:a tcp"]),
        ("a node port", base().node_port(30080), vec!["ns/web:a tcp"]),
        ("an external IP", base().external_ip("203.0.113.1"), vec!["ns/web:a tcp"]),
        ("a second port", base().port("b", Tcp, 81), vec!["ns/web:b tcp"]),
        ("a policy", base().internal_local(), vec!["ns/web:a tcp"]),
        ("session affinity", base().affinity(std::time::Duration::from_secs(5)), vec!["ns/web:a tcp"]),
        (
            "a cluster IP of the other family",
            service("ns/web", "10.96.0.1,fd00::1").port("a", Tcp, 80),
            vec![],
        ),
        ("nothing", base(), vec![]),
    ];
    for (rule, web, expected) in rows {
        let mut state = state_of([base().applied()]);
        commit(&mut state);
        happen(&mut state, [web.applied()]);
        assert_eq!(changed(&state, V4), expected, "{rule}");
    }
}

#[test]
fn session_affinity_belongs_to_the_port_and_all_its_addresses() {
    let timeout = std::time::Duration::from_secs(30);
    let web = web().node_port(30080).external_ip("203.0.113.1").affinity(timeout);
    let state = state_of([web.applied(), pods("1@n1 2@n2")]);
    assert_eq!(planned(&state, V4, "ns/web", "").unwrap().session_affinity, Some(timeout));
}

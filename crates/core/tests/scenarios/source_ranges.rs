//! Who may use a Service's load-balancer addresses.

use super::*;

/// The effective ranges in each family for a Service with a load-balancer address in both.
fn ranges(node_addresses: &[&str], wanted: &[&str]) -> [String; 2] {
    let mut web = service("ns/web", "10.96.0.1,fd00::1")
        .port("", Tcp, 80)
        .node_port(30080)
        .external_ip("203.0.113.77")
        .load_balancer_ip("203.0.113.9")
        .load_balancer_ip("203.0.113.8")
        .load_balancer_ip("2001:db8:113::8");
    for range in wanted {
        web = web.source_range(range);
    }
    let node = Event::Node(Change::Applied(node("n1", node_addresses)));
    let state = state_of([node, web.applied(), pods("1@n1")]);
    [V4, V6].map(|family| {
        let found = &planned(&state, family, "ns/web", "").unwrap().source_ranges;
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    })
}

const NODE: [&str; 2] = ["192.0.2.1", "2001:db8:2::1"];

#[test]
fn source_ranges_are_per_family_and_empty_means_all() {
    let rows: [(&str, &[&str], &str, &str); 8] = [
        ("none", &[], "", ""),
        ("those of one family leave the other open", &["10.0.0.0/8"], "10.0.0.0/8", ""),
        ("one of each", &["10.0.0.0/8", "2001:db8:9::/48"], "10.0.0.0/8", "2001:db8:9::/48"),
        (
            "sorted, without overlaps",
            &["10.2.0.0/16", "10.1.0.0/16", "10.1.2.0/24"],
            "10.1.0.0/16 10.2.0.0/16",
            "",
        ),
        ("neighbours merge", &["10.2.0.0/16", "10.3.0.0/16"], "10.2.0.0/15", ""),
        ("a zero prefix admits all clients", &["10.0.0.0/8", "0.0.0.0/0"], "", ""),
        ("of its family alone", &["10.0.0.0/8", "::/0"], "10.0.0.0/8", ""),
        ("two halves are the whole", &["0.0.0.0/1", "128.0.0.0/1"], "", ""),
    ];
    for (rule, wanted, v4, v6) in rows {
        assert_eq!(ranges(&NODE, wanted), [v4, v6], "{rule}");
    }
}

#[test]
fn source_range_with_the_node_ip_includes_the_load_balancer_ips() {
    type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a str, &'a str);
    let own = "192.0.2.0/24 203.0.113.8/31";
    let rows: [Row<'_>; 6] = [
        ("the node's own address", &NODE, &["192.0.2.0/24"], own, ""),
        ("another node's", &NODE, &["192.0.3.0/24"], "192.0.3.0/24", ""),
        ("IPv6", &NODE, &["2001:db8:2::/48"], "", "2001:db8:2::/48 2001:db8:113::8/128"),
        (
            "the first address of the family is the node's",
            &["192.0.2.1", "192.0.3.1"],
            &["192.0.3.0/24"],
            "192.0.3.0/24",
            "",
        ),
        ("an unknown address counts as loopback", &[], &["127.0.0.0/8"], "127.0.0.0/8 203.0.113.8/31", ""),
        ("loopback is not in a range of others", &[], &["192.0.2.0/24"], "192.0.2.0/24", ""),
    ];
    for (rule, node, wanted, v4, v6) in rows {
        assert_eq!(ranges(node, wanted), [v4, v6], "{rule}");
    }
}

#[test]
fn source_ranges_need_a_load_balancer_address() {
    let web = web().node_port(30080).external_ip("203.0.113.1").source_range("10.0.0.0/8");
    let state = state_of([web.applied(), pods("1@n1")]);
    assert!(planned(&state, V4, "ns/web", "").unwrap().source_ranges.is_empty());
}

#[test]
fn source_ranges_apply_without_endpoints() {
    let web = web().load_balancer_ip("203.0.113.1").source_range("10.0.0.0/8");
    let state = state_of([web.applied()]);
    let port = planned(&state, V4, "ns/web", "").unwrap();
    assert_eq!((port.source_ranges.len(), port.unserved), (1, Unserved::Reject));
}

#[test]
fn changed_node_ip_updates_source_ranges() {
    let web = web().load_balancer_ip("203.0.113.1").source_range("192.0.2.0/24");
    let mut state = state_of([Event::Node(Change::Applied(node("n1", &["192.0.2.1"]))), web.applied()]);
    commit(&mut state);
    happen(&mut state, [Event::Node(Change::Applied(node("n1", &["192.0.3.1"])))]);
    assert_eq!(changed(&state, V4), ["ns/web tcp"]);
    assert_eq!(planned(&state, V4, "ns/web", "").unwrap().source_ranges.len(), 1);
}

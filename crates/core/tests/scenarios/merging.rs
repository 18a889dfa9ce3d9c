//! What the slices of one Service say together.

use super::*;

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
    let http = planned(&state, V4, "ns/web", "http");
    assert_eq!(endpoints(http), "[10.244.0.7:8080 local, 10.244.0.8:8080 anywhere, 10.244.0.9:8081]");
    let dns = planned_l4(&state, V4, "ns/web", "dns", Udp);
    assert_eq!(endpoints(dns), "[10.244.0.9:5353]");
    assert_eq!(endpoints(planned_l4(&state, V4, "ns/web", "sctp", Sctp)), "[]");
}

#[test]
fn running_entry_counts_before_terminating_entry_of_one_address() {
    let entry = |slice_name, node, conditions| {
        slice(slice_name, "web").port("", Tcp, 80).endpoint("10.244.0.1", Some(node), conditions).applied()
    };
    let cases = [
        ("the later one", ("n2", Conditions::READY), ("n1", Conditions::READY), "[10.244.0.1:80 local]"),
        (
            "the earlier if the later terminates",
            ("n1", Conditions::READY),
            ("n2", conditions("serving")),
            "[10.244.0.1:80 local]",
        ),
        (
            "the later if the earlier terminates",
            ("n2", conditions("serving")),
            ("n1", Conditions::READY),
            "[10.244.0.1:80 local]",
        ),
        (
            "the ready one if the later is not ready",
            ("n1", Conditions::READY),
            ("n1", conditions("unready")),
            "[10.244.0.1:80 local]",
        ),
        (
            "the ready one if the earlier is not ready",
            ("n1", conditions("unready")),
            ("n1", Conditions::READY),
            "[10.244.0.1:80 local]",
        ),
    ];
    for (rule, first, second, expected) in cases {
        let slices = [entry("ns/web-1", first.0, first.1), entry("ns/web-2", second.0, second.1)];
        let web = service("ns/web", "10.96.0.1").port("", Tcp, 80).applied();
        for order in [[0, 1], [1, 0]] {
            let events = order.map(|i: usize| slices[i].clone());
            let state = state_of(std::iter::once(web.clone()).chain(events));
            assert_eq!(endpoints(planned(&state, V4, "ns/web", "")), expected, "{rule}, {order:?}");
        }
    }
}

/// A slice: its name, ports and endpoints.
type Part<'a> = (&'a str, &'a [(&'a str, u16)], &'a str);

/// The endpoints of the port `p` of a Service with these slices.
fn merged(slices: &[Part<'_>]) -> String {
    let slices = slices.iter().map(|(name, ports, words)| {
        let bare =
            ports.iter().fold(slice(name, "web"), |slice, (port, number)| slice.port(port, Tcp, *number));
        with_endpoints(bare, words).applied()
    });
    let web = service("ns/web", "10.96.0.1").port("p", Tcp, 80).port("q", Tcp, 81).applied();
    let state = state_of(std::iter::once(web).chain(slices));
    let list = &planned(&state, V4, "ns/web", "p").unwrap().cluster_endpoints;
    let texts: Vec<_> =
        list.iter().map(|e| e.socket_address().to_string().replace("10.244.0.", "")).collect();
    texts.join(" ")
}

#[test]
fn slices_add_up_to_one_list_with_each_endpoint_once() {
    type Row<'a> = (&'a str, &'a [Part<'a>], &'a str);
    let rows: [Row<'_>; 11] = [
        ("nothing", &[], ""),
        ("two hosts, two ports", &[("ns/a", &[("p", 1), ("q", 2)], "1 2")], "1:1 2:1"),
        ("two slices, one port", &[("ns/a", &[("p", 1)], "1 2"), ("ns/b", &[("p", 1)], "3")], "1:1 2:1 3:1"),
        (
            "hosts in both slices",
            &[("ns/a", &[("p", 1)], "1 2"), ("ns/b", &[("p", 1)], "2 3")],
            "1:1 2:1 3:1",
        ),
        (
            "one host on two ports is two",
            &[("ns/a", &[("p", 1)], "1"), ("ns/b", &[("p", 2)], "1")],
            "1:1 1:2",
        ),
        ("one slice names a port twice", &[("ns/a", &[("p", 1), ("p", 2)], "1 2")], "1:1 1:2 2:1 2:2"),
        ("one slice repeats a port", &[("ns/a", &[("p", 1), ("p", 1)], "1")], "1:1"),
        ("one slice repeats a host", &[("ns/a", &[("p", 1)], "1 1 2")], "1:1 2:1"),
        (
            "a slice without the port adds none",
            &[("ns/a", &[("q", 1)], "1"), ("ns/b", &[("p", 1)], "2")],
            "2:1",
        ),
        ("a slice without ports adds none", &[("ns/a", &[], "1"), ("ns/b", &[("p", 1)], "2")], "2:1"),
        ("all unready", &[("ns/a", &[("p", 1)], "1/unready"), ("ns/b", &[("p", 1)], "2/unready")], ""),
    ];
    for (rule, slices, expected) in rows {
        assert_eq!(merged(slices), expected, "{rule}");
    }
}

#[test]
fn conflicting_readiness_is_resolved_per_endpoint() {
    let say =
        |first: &str, second: &str| merged(&[("ns/a", &[("p", 1)], first), ("ns/b", &[("p", 1)], second)]);
    let both = |first: &str, second: &str| {
        let merged = say(first, second);
        assert_eq!(say(second, first), merged, "whichever slice has the greater name");
        merged
    };
    assert_eq!(both("1 2/unready", "1/unready 2"), "1:1 2:1", "ready in one is ready");
    assert_eq!(both("1 2/serving", "1/serving 2"), "1:1 2:1", "a running pod counts, not the one before it");
    assert_eq!(both("1/serving 2/serving", "1/gone"), "1:1 2:1", "of two that terminate the one that serves");
    assert_eq!(both("1/serving", "1/unready"), "", "a running pod that is not ready is none that terminates");
    assert_eq!(both("1 2/serving", "2/gone"), "1:1", "no last resort if an endpoint is ready");
}

#[test]
fn merge_of_slices_does_not_depend_on_their_names() {
    let states = ["ready", "leaving", "serving", "answering", "contrary", "gone", "unready"];
    let entries = || states.into_iter().flat_map(|state| ["@n1", "@n2", ""].map(|node| (state, node)));
    let web = || web().external_ip("203.0.113.1").external_local().applied();
    let plan = |first: (&str, &str), second: (&str, &str)| {
        let of = |name: &str, (state, node): (&str, &str)| {
            with_endpoints(slice(name, "web").port("", Tcp, 80), &format!("1{node}/{state}")).applied()
        };
        let state = state_of([web(), of("ns/web-1", first), of("ns/web-2", second)]);
        planned(&state, V4, "ns/web", "").unwrap().clone()
    };
    for (a, b) in entries().flat_map(|a| entries().map(move |b| (a, b))) {
        let port = plan(a, b);
        assert_eq!(port, plan(b, a), "{a:?} and {b:?}");
        let ready: Vec<_> = [a, b].into_iter().filter(|(state, _)| conditions(state).ready).collect();
        if !ready.is_empty() {
            let is_here = ready.iter().any(|(_, node)| *node == "@n1");
            assert_eq!(port.cluster_endpoints.len(), 1, "{a:?} and {b:?}");
            assert_eq!(port.local_endpoints.len(), usize::from(is_here), "{a:?} and {b:?}");
        }
    }
}

#[test]
fn endpoint_without_hints_in_any_slice_disables_hints() {
    let of =
        |name: &str, words: &str| with_endpoints(slice(name, "web").port("", Tcp, 8080), words).applied();
    for names in [["ns/web-1", "ns/web-2"], ["ns/web-2", "ns/web-1"]] {
        let slices = [of(names[0], "1@n1~za"), of(names[1], "1@n1"), of("ns/web-3", "2@n2~zb")];
        let state = state_of([in_zone("za"), web().applied()].into_iter().chain(slices));
        assert_eq!(lists(planned(&state, V4, "ns/web", "")).0, "1 2");
    }
}

#[test]
fn slices_of_one_name_in_two_namespaces_are_two() {
    let of = |namespace: &str, words: &str| {
        let name = format!("{namespace}/web-1");
        with_endpoints(slice(&name, "web").port("", Tcp, 80), words).applied()
    };
    let mut state = state_of([
        service("a/web", "10.96.0.1").port("", Tcp, 80).applied(),
        service("b/web", "10.96.0.2").port("", Tcp, 80).applied(),
        of("a", "1"),
        of("b", "2"),
    ]);
    let both = |state: &State| ["a/web", "b/web"].map(|name| lists(planned(state, V4, name, "")).0);
    assert_eq!(both(&state), ["1", "2"]);
    happen(&mut state, [deleted_slice("a/web-1")]);
    assert_eq!(both(&state), ["", "2"]);
}

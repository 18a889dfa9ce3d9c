//! What changes, and who is told: events go in, change sets come out.

use super::*;

#[test]
fn slices_wait_for_their_service_and_outlive_it() {
    let pods = || slice("ns/web-1", "web").port("", Tcp, 80).on("n1", "10.244.0.1").applied();
    let web = || service("ns/web", "10.96.0.1").port("", Tcp, 80);
    let mut state = state_of([pods()]);
    assert_eq!(planned(&state, V4, "ns/web", ""), None);
    for _ in 0..2 {
        state.handle(web().applied());
        state.prepare();
        assert_eq!(endpoints(planned(&state, V4, "ns/web", "")), "[10.244.0.1:80 local]");
        state.handle(Event::Service(Change::Deleted(object_name("ns/web"))));
        state.prepare();
        assert_eq!(planned(&state, V4, "ns/web", ""), None);
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
    assert_eq!(endpoints(planned(&state, V4, "ns/a", "")), "[]");
    assert_eq!(endpoints(planned(&state, V4, "ns/b", "")), "[10.244.0.1:80 local]");
}

#[test]
fn a_change_that_is_taken_back_before_it_was_applied_is_no_change() {
    let with = |port| service("ns/web", "10.96.0.1").port("", Tcp, port).applied();
    let mut state = state_of([with(80)]);
    state.committed(V4);
    state.handle(with(81));
    state.prepare();
    assert_eq!(state.changes(V4).len(), 1);
    state.handle(with(80));
    state.prepare();
    assert!(state.changes(V4).is_empty());
}

#[test]
fn changes_stay_until_their_family_is_committed() {
    let mut state = state_of([]);
    for family in IpFamily::ALL {
        state.committed(family);
    }
    state.handle(service("ns/web", "10.96.0.1,fd00::1").port("", Tcp, 80).applied());
    state.prepare();
    state.committed(V4);
    assert!(state.changes(V4).is_empty());
    assert_eq!(state.changes(V6).len(), 1);
    state.forget_applied(V6);
    assert!(state.changes(V6).is_complete());
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
    assert_eq!(state.committed(V4).triggers.len(), 2);
    assert_eq!(state.committed(V4).triggers.len(), 0);
    let mut more = pods("ns/web-1", 7);
    if let Event::EndpointSlice(Change::Applied(slice)) = &mut more {
        slice.endpoints.clear();
    }
    state.handle(more);
    assert_eq!(state.committed(V4).triggers.len(), 0, "the same trigger is observed once");
    for seconds in 100..1_000 {
        state.handle(pods("ns/web-1", seconds));
    }
    assert!(state.committed(V4).triggers.len() <= 100, "a long failure must not pile them up");
    state.handle(pods("ns/web-1", 9));
    state.handle(Event::EndpointSlice(Change::Deleted(object_name("ns/web-1"))));
    assert_eq!(state.committed(V4).triggers.len(), 0);
}

/// A UDP slice of the Service `a` or `b`: `a-1 p11:11,p12:12 1@n1 2`, where `-` is the unnamed port.
fn udp(text: &str) -> Event {
    let mut words = text.splitn(3, ' ');
    let (name, ports) = (words.next().unwrap(), words.next().unwrap());
    let (owner, _) = name.split_once('-').unwrap();
    let bare = ports.split(',').fold(slice(&format!("ns/{name}"), owner), |slice, port| {
        let (name, number) = port.split_once(':').unwrap();
        slice.port(name.trim_matches('-'), Udp, number.parse().unwrap())
    });
    with_endpoints(bare, words.next().unwrap_or_default()).applied()
}

fn gone(name: &str) -> Event {
    deleted_slice(&format!("ns/{name}"))
}

/// Two Services with every port that the slices of these tests name.
fn udp_services() -> Vec<Event> {
    let ports = |name: &str, ip: &str| {
        let bare = service(&format!("ns/{name}"), ip).port("", Udp, 1);
        (11..15).fold(bare, |service, port| service.port(&format!("p{port}"), Udp, port)).applied()
    };
    vec![ports("a", "10.96.0.1"), ports("b", "10.96.0.2")]
}

/// Whether flows to an address may be left that no new one would follow.
#[derive(Debug, PartialEq, Eq)]
enum Flows {
    Checked,
    Left,
}

#[test]
fn slices_that_come_change_and_go_change_the_ports_they_feed_and_no_others() {
    use Flows::{Checked, Left};
    type Row = (&'static str, Vec<Event>, Vec<Event>, Vec<&'static str>, Flows);
    let rows: Vec<Row> = vec![
        ("nothing", vec![], vec![], vec![], Left),
        ("the same, unnamed port", vec![udp("a-1 -:11 1")], vec![udp("a-1 -:11 1")], vec![], Left),
        (
            "the same, several slices and ports",
            vec![udp("a-1 p11:11 1@n1"), udp("a-2 p12:12,p13:13 2@n1")],
            vec![udp("a-2 p12:12,p13:13 2@n1"), udp("a-1 p11:11 1@n1")],
            vec![],
            Left,
        ),
        ("a first slice, unnamed port", vec![], vec![udp("a-1 -:11 1")], vec!["ns/a udp"], Checked),
        ("a last slice goes", vec![udp("a-1 -:11 1")], vec![gone("a-1")], vec!["ns/a udp"], Checked),
        (
            "an address and a port more",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-1 p11:11,p12:12 1 2")],
            vec!["ns/a:p11 udp", "ns/a:p12 udp"],
            Checked,
        ),
        (
            "an address more, of a port that has one",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-1 p11:11 1 2")],
            vec!["ns/a:p11 udp"],
            Left,
        ),
        (
            "an address and a port less",
            vec![udp("a-1 p11:11,p12:12 1 2")],
            vec![udp("a-1 p11:11 1")],
            vec!["ns/a:p11 udp", "ns/a:p12 udp"],
            Checked,
        ),
        (
            "a second slice with a port of its own",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-2 p12:12 2")],
            vec!["ns/a:p12 udp"],
            Checked,
        ),
        (
            "the second goes again",
            vec![udp("a-1 p11:11 1"), udp("a-2 p12:12 2")],
            vec![gone("a-2")],
            vec!["ns/a:p12 udp"],
            Checked,
        ),
        (
            "a port is renamed",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-1 p12:11 1")],
            vec!["ns/a:p11 udp", "ns/a:p12 udp"],
            Checked,
        ),
        (
            "a port is renumbered",
            vec![udp("a-1 p11:11 1")],
            vec![udp("a-1 p11:22 1")],
            vec!["ns/a:p11 udp"],
            Checked,
        ),
        (
            "much at once",
            vec![udp("a-1 p11:11 1@n1 2"), udp("b-1 p12:12 3@n1"), udp("b-2 p13:13 4@n1")],
            vec![udp("a-1 p11:11 1@n1"), gone("b-1"), udp("b-2 p13:13,p14:14 4@n1"), udp("a-2 p12:12 5")],
            vec!["ns/a:p11 udp", "ns/a:p12 udp", "ns/b:p12 udp", "ns/b:p14 udp"],
            Checked,
        ),
        ("an empty slice fills", vec![udp("a-1 -:11")], vec![udp("a-1 -:11 1")], vec!["ns/a udp"], Checked),
        (
            "one of two starts to terminate",
            vec![udp("a-1 -:11 1 2")],
            vec![udp("a-1 -:11 1/serving 2")],
            vec!["ns/a udp"],
            Left,
        ),
        (
            "the only one starts to terminate and goes on being used",
            vec![udp("a-1 -:11 1")],
            vec![udp("a-1 -:11 1/serving")],
            vec![],
            Left,
        ),
        (
            "one stops serving",
            vec![udp("a-1 -:11 1/serving")],
            vec![udp("a-1 -:11 1/gone")],
            vec!["ns/a udp"],
            Checked,
        ),
        (
            "a terminating one that was not used goes",
            vec![udp("a-1 -:11 1/gone 2")],
            vec![udp("a-1 -:11 2")],
            vec![],
            Left,
        ),
        (
            "all become unready",
            vec![udp("a-1 -:11 1 2")],
            vec![udp("a-1 -:11 1/unready 2/unready")],
            vec!["ns/a udp"],
            Checked,
        ),
        (
            "all become ready",
            vec![udp("a-1 -:11 1/unready")],
            vec![udp("a-1 -:11 1")],
            vec!["ns/a udp"],
            Checked,
        ),
        (
            "some become ready",
            vec![udp("a-1 -:11 1 2/unready")],
            vec![udp("a-1 -:11 1 2")],
            vec!["ns/a udp"],
            Left,
        ),
        ("an unknown slice goes", vec![udp("a-1 -:11 1")], vec![gone("a-9")], vec![], Left),
        (
            "a slice comes that says what another said",
            vec![udp("a-1 p11:11,p12:12 1")],
            vec![udp("a-2 p11:11 1")],
            vec![],
            Left,
        ),
        (
            "one of two that say the same goes",
            vec![udp("a-1 p11:11 1"), udp("a-2 p11:11,p12:12 1")],
            vec![gone("a-1")],
            vec![],
            Left,
        ),
        ("endpoints in another order", vec![udp("a-1 -:11 1 2")], vec![udp("a-1 -:11 2 1")], vec![], Left),
        (
            "ports in another order",
            vec![udp("a-1 p11:11,p12:12 1")],
            vec![udp("a-1 p12:12,p11:11 1")],
            vec![],
            Left,
        ),
        (
            "it comes and goes before anything is applied",
            vec![],
            vec![udp("a-1 -:11 1"), gone("a-1")],
            vec![],
            Left,
        ),
    ];
    for (rule, before, then, expected, flows) in rows {
        let mut state = state_of(udp_services().into_iter().chain(before));
        commit(&mut state);
        happen(&mut state, then);
        assert_eq!(changed(&state, V4), expected, "{rule}");
        let check = portolan_core::FlowCheck::after(state.plan(V4), state.changes(V4));
        assert_eq!(if check.is_empty() { Left } else { Checked }, flows, "{rule}");
    }
}

#[test]
fn a_port_that_a_slice_drops_is_in_the_change_as_it_was_applied() {
    let mut state = state_of(udp_services().into_iter().chain([udp("a-1 p11:11,p12:12 1")]));
    commit(&mut state);
    happen(&mut state, [udp("a-1 p11:11 1")]);
    let (name, old) = state.changes(V4).service_ports().next().unwrap();
    assert_eq!((&*name.port, old.unwrap().cluster_endpoints.len()), ("p12", 1));
    assert_eq!(lists(planned_l4(&state, V4, "ns/a", "p12", Udp)).0, "");
}

#[test]
fn a_service_that_becomes_a_load_balancer_and_back_is_three_changes() {
    use portolan_core::event::ServiceType::LoadBalancer;
    let plain = || web().applied();
    let balanced = || {
        let web = web().node_port(30080).load_balancer_ip("203.0.113.1").external_local();
        web.service_type(LoadBalancer).health_check_node_port(32000).applied()
    };
    let mut state = state_of([]);
    commit(&mut state);
    for (rule, event, changes) in [
        ("created", plain(), 1),
        ("exposed", balanced(), 1),
        ("the same again", balanced(), 0),
        ("back", plain(), 1),
    ] {
        happen(&mut state, [event]);
        assert_eq!(state.changes(V4).len(), changes, "{rule}");
        let checks = state.committed(V4).health_checks;
        let tells = ["exposed", "back"].contains(&rule);
        assert_eq!(checks.len(), usize::from(tells), "{rule}");
    }
}

#[test]
fn services_that_come_change_and_go_are_the_changes_and_nothing_else_is() {
    let port = |name: &str, ip: &str| service(name, ip).port("p", Tcp, 80).port("q", Udp, 81);
    let mut state = state_of([]);
    commit(&mut state);
    happen(&mut state, [port("ns/a", "10.96.0.1").applied(), port("ns/b", "10.96.0.2").applied()]);
    assert_eq!(changed(&state, V4), ["ns/a:p tcp", "ns/a:q udp", "ns/b:p tcp", "ns/b:q udp"]);
    assert_eq!(state.plan(V4).service_ports.len(), 4);
    commit(&mut state);
    let one_less = service("ns/a", "10.96.0.1").port("p", Tcp, 80).applied();
    happen(&mut state, [one_less, deleted_service("ns/b"), port("ns/c", "10.96.0.3").applied()]);
    let expected = ["ns/a:q udp", "ns/b:p tcp", "ns/b:q udp", "ns/c:p tcp", "ns/c:q udp"];
    assert_eq!(changed(&state, V4), expected);
    assert_eq!(state.plan(V4).service_ports.len(), 3);
    commit(&mut state);
    happen(
        &mut state,
        [port("ns/d", "10.96.0.4").applied(), deleted_service("ns/d"), deleted_service("ns/e")],
    );
    assert!(state.changes(V4).is_empty(), "what came and went before it was applied");
}

#[test]
fn each_service_hands_over_the_trigger_times_of_its_own_slices() {
    let seconds = |state: &mut State| {
        let since_epoch =
            |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut seconds: Vec<_> = state.committed(V4).triggers.into_iter().map(since_epoch).collect();
        seconds.sort_unstable();
        seconds
    };
    let at = |name: &str, service: &str, time| {
        slice(name, service).port("", Tcp, 80).on("n1", "10.244.0.1").triggered(time).applied()
    };
    let timeless = || slice("ns/c-1", "c").port("", Tcp, 80).on("n1", "10.244.0.1").applied();
    let rows: Vec<(&str, Vec<Event>, Vec<u64>)> = vec![
        ("added", vec![at("ns/a-1", "a", 1)], vec![1]),
        ("added and changed", vec![at("ns/a-1", "a", 1), at("ns/a-1", "a", 2)], vec![1, 2]),
        (
            "two Services",
            vec![at("ns/a-1", "a", 1), at("ns/b-1", "b", 3), at("ns/a-1", "a", 2)],
            vec![1, 2, 3],
        ),
        ("without a time", vec![timeless()], vec![]),
        ("added and deleted", vec![at("ns/a-1", "a", 1), deleted_slice("ns/a-1")], vec![]),
        (
            "and added again",
            vec![at("ns/a-1", "a", 1), deleted_slice("ns/a-1"), at("ns/a-1", "a", 2)],
            vec![2],
        ),
        (
            "another's is deleted",
            vec![at("ns/a-1", "a", 1), at("ns/b-1", "b", 2), deleted_slice("ns/b-1")],
            vec![1],
        ),
        ("nothing but a deletion", vec![deleted_slice("ns/a-1")], vec![]),
    ];
    for (rule, events, expected) in rows {
        let mut state = state_of(events);
        assert_eq!(seconds(&mut state), expected, "{rule}");
        assert_eq!(seconds(&mut state), Vec::<u64>::new(), "{rule}: told once");
    }
}

//! Changes: events go in, change sets come out.

use super::*;

#[test]
fn slices_may_exist_before_and_after_their_service() {
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
fn slice_with_another_service_leaves_the_former_one() {
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
fn reverted_change_is_not_in_the_change_set() {
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

/// The flows that it brought about are still there.
#[test]
fn removed_port_stays_in_a_complete_change_set() {
    let web = |name: &str| service(&format!("ns/{name}"), "10.96.0.1").port("", Tcp, 80);
    let mut state = state_of([web("applied").applied()]);
    assert_eq!(changed(&state, V4), [""; 0], "a first plan lists nothing");
    commit(&mut state);
    happen(&mut state, [service("ns/failed", "10.96.0.2").port("", Tcp, 80).applied()]);
    state.forget_applied(V4);
    happen(&mut state, [deleted_service("ns/applied"), deleted_service("ns/failed")]);
    assert!(state.changes(V4).is_complete());
    assert_eq!(changed(&state, V4), ["ns/applied tcp", "ns/failed tcp"], "it may have been written in part");
    commit(&mut state);
    assert!(state.changes(V4).is_empty());
}

#[test]
fn state_is_not_ready_before_all_lists_have_arrived() {
    let mut state = State::new(NodeConfig::new("n1"));
    for event in empty_lists() {
        assert!(!state.is_ready());
        state.handle(event);
    }
    assert!(state.is_ready());
}

#[test]
fn trigger_times_are_reported_once_and_not_for_deleted_slices() {
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
        let has_check = ["exposed", "back"].contains(&rule);
        assert_eq!(checks.len(), usize::from(has_check), "{rule}");
    }
}

#[test]
fn change_set_has_exactly_the_changed_services() {
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
fn trigger_times_belong_to_the_service_of_their_slice() {
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
        assert_eq!(seconds(&mut state), Vec::<u64>::new(), "{rule}: reported once");
    }
}

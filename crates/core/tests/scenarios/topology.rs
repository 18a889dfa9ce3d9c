//! How hints narrow the Cluster list, and nothing else.

use super::*;

fn cluster_list(events: impl IntoIterator<Item = Event>, endpoints: &str) -> String {
    let state = state_of(events.into_iter().chain([web().applied(), pods(endpoints)]));
    lists(planned(&state, V4, "ns/web", "")).0
}

#[test]
fn zone_hints_apply_if_all_ready_endpoints_have_one_and_one_is_for_this_zone() {
    let rows = [
        ("all hinted", "za", "1@n1~za 2@n2~zb 3@n3~za", "1 3"),
        ("the hint counts, not where the endpoint is", "za", "1@n1~zb 2@n2~za", "2"),
        ("several zones in one hint", "za", "1@n1~za+zb 2@n2~zb+zc 3@n3~zc+za", "1 3"),
        ("no hints", "za", "1@n1 2@n2", "1 2"),
        ("one is not hinted", "za", "1@n1~za 2@n2~zb 3@n3", "1 2 3"),
        ("no endpoint is for this zone", "zc", "1@n1~za 2@n2~zb", "1 2"),
        ("unready ones of this zone are not used", "za", "1@n1/unready~za 2@n2~za 3@n3~zb", "2"),
        ("this zone has only unready ones", "za", "1@n1/unready~za 2@n2~zb 3@n3~zb", "2 3"),
        ("an unready one needs no hint", "za", "1@n1/unready 2@n2~za 3@n3~zb", "2"),
        ("a terminating one needs no hint", "za", "1@n1/serving 2@n2~za 3@n3~zb", "2"),
        (
            "with none ready, hints mean nothing to the terminating",
            "za",
            "1@n1/serving~za 2@n2/serving~zb",
            "1 2",
        ),
        ("a ready one that terminates counts as ready", "za", "1@n1/leaving~za 2@n2~zb", "1"),
    ];
    for (rule, zone, endpoints, expected) in rows {
        assert_eq!(cluster_list([in_zone(zone)], endpoints), expected, "{rule}");
    }
}

#[test]
fn node_without_zone_ignores_zone_hints() {
    let endpoints = "1@n1~za 2@n2~zb";
    assert_eq!(cluster_list([], endpoints), "1 2", "no Node yet");
    let no_zone = Event::Node(Change::Applied(node("n1", &["192.0.2.1"])));
    assert_eq!(cluster_list([no_zone], endpoints), "1 2", "a Node without the label");
    let elsewhere = Node { zone: Some("za".into()), ..node("n2", &["192.0.2.2"]) };
    assert_eq!(cluster_list([Event::Node(Change::Applied(elsewhere))], endpoints), "1 2", "another's zone");
}

#[test]
fn node_hints_take_precedence_over_zone_hints() {
    let rows = [
        ("all hinted, one for this node", "1@n1~za^n1 2@n2~za^n2 3@n3~zb^n3", "1"),
        ("node hints alone", "1@n1^n1 2@n2^n2", "1"),
        ("several nodes in one hint", "1@n1^n2+n3 2@n2^n1+n2", "2"),
        ("none for this node: its zone", "2@n2~za^n2 3@n3~za^n3 4@n4~zb^n4", "2 3"),
        ("none for this node and none for its zone: all", "2@n2~zb^n2 4@n4~zb^n4", "2 4"),
        ("one lacks a node hint: the zone", "1@n1~za^n1 2@n2~za 3@n3~zb", "1 2"),
        ("one lacks both: all", "1@n1~za^n1 2@n2 3@n3~zb", "1 2 3"),
        ("the one for this node is not ready: the zone", "1@n1/unready~za^n1 2@n2~za^n2 3@n3~zb^n3", "2"),
        ("the one for this node terminates: the zone", "1@n1/serving~za^n1 2@n2~za^n2 3@n3~zb^n3", "2"),
    ];
    for (rule, endpoints, expected) in rows {
        assert_eq!(cluster_list([in_zone("za")], endpoints), expected, "{rule}");
    }
}

#[test]
fn local_policy_ignores_hints() {
    let endpoints = "1@n1~zb 2@n2~za 3@n1~za";
    let rows = [
        ("external Local", web().node_port(30080).external_local(), ("2 3", "1 3")),
        ("internal Local", web().node_port(30080).internal_local(), ("2 3", "1 3")),
        ("internal Local without an outside", web().internal_local(), ("", "1 3")),
        ("both Cluster", web().node_port(30080), ("2 3", "")),
    ];
    for (rule, web, (cluster, local)) in rows {
        let state = state_of([in_zone("za"), web.applied(), pods(endpoints)]);
        let found = lists(planned(&state, V4, "ns/web", ""));
        assert_eq!((&*found.0, &*found.1), (cluster, local), "{rule}");
    }
}

#[test]
fn hints_apply_per_port_and_family() {
    let both = service("ns/web", "10.96.0.1,fd00::1").port("a", Tcp, 80).port("b", Tcp, 81).applied();
    let hinted =
        with_endpoints(slice("ns/web-1", "web").port("a", Tcp, 80).port("b", Tcp, 81), "1@n1~za 2@n2~zb");
    let only_b = with_endpoints(slice("ns/web-2", "web").port("b", Tcp, 81), "3@n3");
    let v6 = slice("ns/web-3", "web").port("a", Tcp, 80).on("n1", "fd00::11").on("n2", "fd00::12");
    let state = state_of([in_zone("za"), both, hinted.applied(), only_b.applied(), v6.applied()]);
    assert_eq!(endpoints(planned(&state, V4, "ns/web", "a")), "[10.244.0.1:80 local]");
    assert_eq!(lists(planned(&state, V4, "ns/web", "b")).0, "1 2 3");
    assert_eq!(planned(&state, V6, "ns/web", "a").unwrap().cluster_endpoints.len(), 2);
}

#[test]
fn changed_zone_updates_all_services() {
    let mut state = state_of([in_zone("za"), web().applied(), pods("1@n1~za 2@n2~zb")]);
    commit(&mut state);
    let list = |state: &State| lists(planned(state, V4, "ns/web", "")).0;
    assert_eq!(list(&state), "1");
    happen(&mut state, [in_zone("zb")]);
    assert_eq!((&*list(&state), changed(&state, V4)), ("2", vec!["ns/web tcp".to_owned()]));
    happen(&mut state, [Event::Node(Change::Applied(node("n1", &["192.0.2.1"])))]);
    assert_eq!(list(&state), "1 2", "the label is gone");
    happen(&mut state, [in_zone("za"), Event::Node(Change::Deleted("n1".into()))]);
    assert_eq!(list(&state), "1", "a Node that is gone keeps its last zone");
    commit(&mut state);
    happen(&mut state, [in_zone("za")]);
    assert_eq!(changed(&state, V4), Vec::<String>::new(), "the same zone again");
}

#[test]
fn removed_and_returning_endpoint_changes_the_hint_scope() {
    let mut state = state_of([in_zone("za"), web().applied()]);
    let steps = [
        ("1@n1~za^n1 2@n2~za^n2 3@n3~zb^n3", "1"),
        ("2@n2~za^n2 3@n3~zb^n3", "2"),
        ("3@n3~zb^n3", "3"),
        ("1@n1~za^n1 3@n3~zb^n3", "1"),
    ];
    for (endpoints, expected) in steps {
        happen(&mut state, [pods(endpoints)]);
        assert_eq!(lists(planned(&state, V4, "ns/web", "")).0, expected, "{endpoints}");
    }
}

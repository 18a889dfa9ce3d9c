//! Hints of the control plane: which endpoints are near (KEP-2433, KEP-3015).

use portolan_core::event::Node;

use super::all_reach;
use crate::scenario::Scenario;
use crate::scenario::check::{Check, from};
use crate::scenario::need::Need;
use crate::scenario::objects::{Member, away, here, pods, this_node, web};
use crate::scenario::packet::{CLIENT, NODE_ITSELF, POD, WEB, cluster_ip, external};

fn node_in(zone: Option<&str>) -> Node {
    Node { zone: zone.map(Into::into), ..this_node() }
}

/// A Service with these pods, seen from a node in zone `a`.
fn in_zone_a(members: impl IntoIterator<Item = Member>) -> Scenario {
    Scenario::new().given(node_in(Some("a"))).given(web()).given(pods("web", members))
}

/// Pod 1 is meant for zone `a`, pod 2 for `a` and `b`, pod 3 for `b`, wherever they run.
fn zoned() -> [Member; 3] {
    [here(1).for_zones(&["a"]), away(2).for_zones(&["a", "b"]), here(3).for_zones(&["b"])]
}

pub(in crate::scenario) fn endpoints_for_this_zone_are_preferred() -> Scenario {
    in_zone_a(zoned()).expect_all(all_reach(&[1, 2]))
}

pub(in crate::scenario) fn endpoints_for_this_node_are_preferred() -> Scenario {
    in_zone_a([
        away(1).for_zones(&["a"]).for_nodes(&["node1"]),
        here(2).for_zones(&["a"]).for_nodes(&["node2"]),
        here(3).for_zones(&["a"]).for_nodes(&["node2", "node1"]),
    ])
    .expect_all(all_reach(&[1, 3]))
}

pub(in crate::scenario) fn without_one_for_this_node_those_for_this_zone_are_used() -> Scenario {
    in_zone_a([
        away(1).for_zones(&["a"]).for_nodes(&["node2"]),
        away(2).for_zones(&["b"]).for_nodes(&["node3"]),
    ])
    .expect_all(all_reach(&[1]))
}

pub(in crate::scenario) fn one_that_no_node_is_named_for_leaves_the_choice_to_zones() -> Scenario {
    in_zone_a([here(1).for_zones(&["b"]).for_nodes(&["node1"]), away(2).for_zones(&["a"])])
        .expect_all(all_reach(&[2]))
}

pub(in crate::scenario) fn one_that_no_zone_is_named_for_makes_all_eligible() -> Scenario {
    in_zone_a([here(1).for_zones(&["a"]), away(2).for_zones(&["b"]), away(3)])
        .expect_all(all_reach(&[1, 2, 3]))
}

pub(in crate::scenario) fn without_one_for_this_zone_all_are_used() -> Scenario {
    in_zone_a([here(1).for_zones(&["b"]), away(2).for_zones(&["c"])]).expect_all(all_reach(&[1, 2]))
}

pub(in crate::scenario) fn a_node_without_a_zone_uses_all() -> Scenario {
    Scenario::new()
        .given(node_in(None))
        .given(web())
        .given(pods("web", zoned()))
        .expect_all(all_reach(&[1, 2, 3]))
}

pub(in crate::scenario) fn hints_of_endpoints_that_are_not_ready_do_not_count() -> Scenario {
    in_zone_a([here(1).for_zones(&["a"]).unready(), away(2).for_zones(&["b"]), away(3).unready()])
        .expect_all(all_reach(&[2]))
        .given(pods("web", [here(1).for_zones(&["a"]), away(2).for_zones(&["b"]), away(3).unready()]))
        .expect_all(all_reach(&[1]))
}

pub(in crate::scenario) fn terminating_endpoints_are_used_whatever_their_hints() -> Scenario {
    in_zone_a([here(1).for_zones(&["a"]).terminating(), away(2).for_zones(&["b"]).terminating()])
        .expect_all(all_reach(&[1, 2]))
}

pub(in crate::scenario) fn the_zone_of_the_node_is_followed() -> Scenario {
    in_zone_a(zoned())
        .expect_all(all_reach(&[1, 2]))
        .given(node_in(Some("b")))
        .expect_all(all_reach(&[2, 3]))
        .given(node_in(None))
        .expect_all(all_reach(&[1, 2, 3]))
        .given(node_in(Some("a")))
        .expect_all(all_reach(&[1, 2]))
}

pub(in crate::scenario) fn an_endpoint_that_goes_takes_the_preference_with_it() -> Scenario {
    in_zone_a([
        here(1).for_zones(&["a"]).for_nodes(&["node1"]),
        away(2).for_zones(&["b"]).for_nodes(&["node2"]),
    ])
    .expect_all(all_reach(&[1]))
    .given(pods("web", [away(2).for_zones(&["b"]).for_nodes(&["node2"])]))
    .expect_all(all_reach(&[2]))
    .given(pods(
        "web",
        [here(1).for_zones(&["a"]).for_nodes(&["node1"]), away(2).for_zones(&["b"]).for_nodes(&["node2"])],
    ))
    .expect_all(all_reach(&[1]))
}

/// Everybody by external addresses, when both policies are Local.
fn local_reaches(here: &[u8], near: &[u8]) -> [Check; 3] {
    [
        from([POD]).to([cluster_ip(WEB)]).reaches(here.iter().copied()).as_themselves(),
        from([CLIENT]).to(external()).reaches(here.iter().copied()).as_themselves(),
        from([NODE_ITSELF]).to(external()).reaches(near.iter().copied()).as_the_node(),
    ]
}

pub(in crate::scenario) fn local_policies_do_not_ask_for_hints() -> Scenario {
    Scenario::new()
        .given(node_in(Some("a")))
        .given(web().internal_local().external_local())
        .given(pods("web", zoned()))
        .expect_all(local_reaches(&[1, 3], &[1, 2]))
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn a_local_policy_drops_although_a_near_endpoint_is_elsewhere() -> Scenario {
    Scenario::new()
        .needing(Need::DropWithoutLocalEndpoints)
        .given(node_in(Some("a")))
        .given(web().external_local())
        .given(pods("web", [away(1).for_zones(&["a"]), away(2).for_zones(&["b"])]))
        .expect(from([CLIENT]).to(external()).is_dropped())
        .expect(from([POD]).to(external()).reaches([1]).as_themselves())
}

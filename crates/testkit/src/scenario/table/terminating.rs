//! Terminating endpoints: they receive new connections only if no endpoint is ready (KEP-1669).

use super::{all_are_refused, all_reach};
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, web};
use crate::scenario::packet::{CLIENT, NODE_ITSELF, POD, WEB, cluster_ip, external};

pub(in crate::scenario) fn new_connections_go_to_those_that_stay() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect_all(all_reach(&[1, 2, 3]))
        .given(pods("web", [here(1).terminating(), here(2), away(3).terminating()]))
        .expect_all(all_reach(&[2]))
}

pub(in crate::scenario) fn endpoints_that_still_serve_are_used_when_none_is_ready() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1).terminating(), away(2).terminating(), here(3).ended()]))
        .expect_all(all_reach(&[1, 2]))
}

pub(in crate::scenario) fn internal_local_falls_back_to_those_here_though_others_are_ready() -> Scenario {
    Scenario::new()
        .given(web().internal_local())
        .given(pods("web", [here(1).terminating(), here(2).ended(), away(3)]))
        .expect(from([POD]).to([cluster_ip(WEB)]).reaches([1]).as_themselves())
        .expect(from([CLIENT, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([1]).as_the_node())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to(external()).reaches([3]).as_the_node())
}

pub(in crate::scenario) fn internal_local_prefers_ready_ones_here() -> Scenario {
    Scenario::new()
        .given(web().internal_local())
        .given(pods("web", [here(1).terminating(), here(2), away(3)]))
        .expect(from([POD]).to([cluster_ip(WEB)]).reaches([2]).as_themselves())
}

pub(in crate::scenario) fn external_local_falls_back_to_those_here_though_others_are_ready() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1).terminating(), here(2).ended(), away(3)]))
        .expect(from([CLIENT]).to(external()).reaches([1]).as_themselves())
        .expect(from([POD]).to(external()).reaches([3]).as_themselves())
        .expect(from([NODE_ITSELF]).to(external()).reaches([3]).as_the_node())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn external_local_prefers_ready_ones_here() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1).terminating(), here(2), away(3).terminating()]))
        .expect(from([CLIENT]).to(external()).reaches([2]).as_themselves())
        .expect(from([POD]).to(external()).reaches([2]).as_themselves())
}

pub(in crate::scenario) fn those_of_other_nodes_serve_under_cluster_but_not_under_local() -> Scenario {
    Scenario::new()
        .needing(Need::DropWithoutLocalEndpoints)
        .given(web().external_local())
        .given(pods("web", [away(1).terminating(), away(2).terminating()]))
        .expect(from([CLIENT]).to(external()).is_dropped())
        .expect(from([POD]).to(external()).reaches([1, 2]).as_themselves())
        .expect(from([CLIENT, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn endpoints_that_neither_serve_nor_are_ready_are_not_used() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1).unready(), away(2).ended()]))
        .expect(all_are_refused())
        .given(web().internal_local().external_local())
        .expect(all_are_refused())
}

pub(in crate::scenario) fn connections_are_refused_once_the_last_has_ended() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1).terminating()]))
        .expect(from([CLIENT]).to(external()).reaches([1]).as_themselves())
        .given(pods("web", [here(1).ended()]))
        .expect(all_are_refused())
        .given(pods("web", []))
        .expect(all_are_refused())
}

pub(in crate::scenario) fn a_new_pod_takes_over_from_one_that_ends() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1).terminating()]))
        .expect_all(all_reach(&[1]))
        .given(pods("web", [here(1).terminating(), here(2)]))
        .expect_all(all_reach(&[2]))
}

pub(in crate::scenario) fn one_that_is_ready_all_the_same_is_used_like_any_other() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1).published(), away(2)]))
        .expect_all(all_reach(&[1, 2]))
}

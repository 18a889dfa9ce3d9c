//! `internalTrafficPolicy`: whom the cluster IP leads to.

use super::{all_are_refused, all_reach};
use crate::scenario::Scenario;
use crate::scenario::check::{Check, from};
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, web};
use crate::scenario::packet::{CLIENT, NODE_ITSELF, POD, WEB, cluster_ip, external};

/// Everybody reaches these by the cluster IP.
fn cluster_ip_reaches(pods: &[u8]) -> [Check; 2] {
    let reached = |traffic: crate::scenario::Traffic| traffic.reaches(pods.iter().copied());
    [
        reached(from([POD]).to([cluster_ip(WEB)])).as_themselves(),
        reached(from([CLIENT, NODE_ITSELF]).to([cluster_ip(WEB)])).as_the_node(),
    ]
}

pub(in crate::scenario) fn cluster_policy_sends_all_clients_to_all_endpoints() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect_all(all_reach(&[1, 2, 3]))
}

pub(in crate::scenario) fn local_policy_sends_all_clients_to_the_only_local_endpoint() -> Scenario {
    Scenario::new()
        .given(web().internal_local())
        .given(pods("web", [here(1), away(2), away(3)]))
        .expect_all(cluster_ip_reaches(&[1]))
}

pub(in crate::scenario) fn local_policy_sends_all_clients_to_all_local_endpoints() -> Scenario {
    Scenario::new()
        .given(web().internal_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect_all(cluster_ip_reaches(&[1, 2]))
}

pub(in crate::scenario) fn local_leaves_external_addresses_alone() -> Scenario {
    Scenario::new()
        .given(web().internal_local())
        .given(pods("web", [here(1), away(2)]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to(external()).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn local_drops_where_no_endpoint_is_here() -> Scenario {
    Scenario::new()
        .needing(Need::DropWithoutLocalEndpoints)
        .given(web().internal_local())
        .given(pods("web", [away(1), away(2)]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([cluster_ip(WEB)]).is_dropped())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to(external()).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn local_refuses_once_no_endpoint_is_anywhere() -> Scenario {
    Scenario::new()
        .given(web().internal_local())
        .given(pods("web", [here(1), away(2)]))
        .expect_all(cluster_ip_reaches(&[1]))
        .given(pods("web", []))
        .expect(all_are_refused())
}

pub(in crate::scenario) fn cluster_turns_local_and_back() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1), away(2), away(3)]))
        .expect_all(cluster_ip_reaches(&[1, 2, 3]))
        .given(web().internal_local())
        .expect_all(cluster_ip_reaches(&[1]))
        .given(web())
        .expect_all(cluster_ip_reaches(&[1, 2, 3]))
}

pub(in crate::scenario) fn local_follows_endpoints_that_come_and_go_here() -> Scenario {
    Scenario::new()
        .given(web().internal_local())
        .given(pods("web", [here(1), away(3)]))
        .expect_all(cluster_ip_reaches(&[1]))
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect_all(cluster_ip_reaches(&[1, 2]))
        .given(pods("web", [here(2), away(3)]))
        .expect_all(cluster_ip_reaches(&[2]))
}

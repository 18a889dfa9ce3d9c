//! `externalTrafficPolicy`: whom all addresses but the cluster IP lead to.

use portolan_core::Protocol;

use super::{all_are_refused, all_reach};
use crate::objects::service;
use crate::scenario::Scenario;
use crate::scenario::check::{Check, from};
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, web};
use crate::scenario::packet::{CLIENT, NODE_ITSELF, POD, WEB, cluster_ip, everywhere, external};

/// What the Local policy means for each, with these endpoints here and these in all.
fn local_reaches(here: &[u8], all: &[u8]) -> [Check; 3] {
    [
        from([CLIENT]).to(external()).reaches(here.iter().copied()).as_themselves(),
        from([POD]).to(external()).reaches(all.iter().copied()).as_themselves(),
        from([NODE_ITSELF]).to(external()).reaches(all.iter().copied()).as_the_node(),
    ]
}

pub(in crate::scenario) fn local_leads_clients_to_endpoints_here_and_shows_them_as_they_are() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([CLIENT]).to(external()).reaches([1, 2]).as_themselves())
}

pub(in crate::scenario) fn local_leads_pods_to_every_endpoint_and_shows_them_as_they_are() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([POD]).to(external()).reaches([1, 2, 3]).as_themselves())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn local_leads_the_node_to_every_endpoint_by_its_own_address() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([NODE_ITSELF]).to(external()).reaches([1, 2, 3]).as_the_node())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn local_leaves_the_cluster_ip_alone() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1), away(2)]))
        .expect(from([POD]).to([cluster_ip(WEB)]).reaches([1, 2]).as_themselves())
        .expect(from([CLIENT, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn local_drops_clients_where_no_endpoint_is_here() -> Scenario {
    Scenario::new()
        .needing(Need::DropWithoutLocalEndpoints)
        .given(web().external_local())
        .given(pods("web", [away(1), away(2)]))
        .expect(from([CLIENT]).to(external()).is_dropped())
        .expect(from([POD]).to(everywhere()).reaches([1, 2]).as_themselves())
        .expect(from([NODE_ITSELF]).to(everywhere()).reaches([1, 2]).as_the_node())
        .expect(from([CLIENT]).to([cluster_ip(WEB)]).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn local_policy_treats_pods_as_clients_without_pod_detection() -> Scenario {
    Scenario::new()
        .configured(super::detection::nothing)
        .given(web().external_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([CLIENT, POD]).to(external()).reaches([1, 2]).as_themselves())
        .expect(from([NODE_ITSELF]).to(external()).reaches([1, 2, 3]).as_the_node())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn local_policy_drops_pods_without_pod_detection_and_local_endpoint() -> Scenario {
    Scenario::new()
        .needing(Need::DropWithoutLocalEndpoints)
        .configured(super::detection::nothing)
        .given(web().external_local())
        .given(pods("web", [away(1), away(2)]))
        .expect(from([CLIENT, POD]).to(external()).is_dropped())
        .expect(from([NODE_ITSELF]).to(external()).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn local_refuses_once_no_endpoint_is_anywhere() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1), away(2)]))
        .expect_all(local_reaches(&[1], &[1, 2]))
        .given(pods("web", []))
        .expect(all_are_refused())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn local_turns_cluster_and_back() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1), away(2)]))
        .expect_all(local_reaches(&[1], &[1, 2]))
        .given(web())
        .expect_all(all_reach(&[1, 2]))
        .given(web().external_local())
        .expect_all(local_reaches(&[1], &[1, 2]))
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn local_follows_endpoints_that_come_and_go_here() -> Scenario {
    Scenario::new()
        .needing(Need::DropWithoutLocalEndpoints)
        .given(web().external_local())
        .given(pods("web", [here(1), away(3)]))
        .expect_all(local_reaches(&[1], &[1, 3]))
        .given(pods("web", [away(3)]))
        .expect(from([CLIENT]).to(external()).is_dropped())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect_all(local_reaches(&[1, 2], &[1, 2, 3]))
}

pub(in crate::scenario) fn local_goes_with_internal_local() -> Scenario {
    Scenario::new()
        .given(web().internal_local().external_local())
        .given(pods("web", [here(1), away(2)]))
        .expect(from([POD]).to([cluster_ip(WEB)]).reaches([1]).as_themselves())
        .expect(from([CLIENT, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([1]).as_the_node())
        .expect_all(local_reaches(&[1], &[1, 2]))
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn local_means_nothing_without_an_external_address() -> Scenario {
    let cluster_ips = cluster_ip(WEB).addresses;
    let internal = service("shop/web", &format!("{},{}", cluster_ips.v4, cluster_ips.v6))
        .port("tcp", Protocol::Tcp, 80)
        .external_local();
    Scenario::new()
        .given(internal)
        .given(pods("web", [away(1), away(2)]))
        .expect(from([POD]).to([cluster_ip(WEB)]).by([Protocol::Tcp]).reaches([1, 2]).as_themselves())
        .expect(from([CLIENT]).to([cluster_ip(WEB)]).by([Protocol::Tcp]).reaches([1, 2]).as_the_node())
}

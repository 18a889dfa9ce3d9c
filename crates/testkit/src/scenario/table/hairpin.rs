//! A pod that reaches itself through a Service, which works only if it is shown the node instead.

use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{anywhere, away, here, pods, web};
use crate::scenario::packet::{Sender, WEB, cluster_ip, everywhere, external};

const ENDPOINT: Sender = Sender::Pod(1);

fn alone() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(from([ENDPOINT]).to(everywhere()).reaches([1]).as_the_node())
}

fn among_others() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([ENDPOINT]).to([cluster_ip(WEB)]).reaches([1, 2, 3]).as_themselves())
        .expect(from([ENDPOINT]).to(external()).reaches([1, 2, 3]).as_the_node())
}

fn under_local_policies() -> Scenario {
    Scenario::new()
        .given(web().internal_local().external_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([ENDPOINT]).to([cluster_ip(WEB)]).reaches([1, 2]).as_themselves())
        .expect(from([ENDPOINT]).to(external()).reaches([1, 2, 3]).as_themselves())
}

fn where_nothing_tells_pods() -> Scenario {
    Scenario::new()
        .configured(super::detection::nothing)
        .given(web().external_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([ENDPOINT]).to([cluster_ip(WEB)]).reaches([1, 2, 3]).as_themselves())
        .expect(from([ENDPOINT]).to(external()).reaches([1, 2]).as_themselves())
}

pub(in crate::scenario) fn a_pod_reaches_itself_by_every_address() -> Scenario {
    alone()
}

pub(in crate::scenario) fn a_pod_on_a_bridge_reaches_itself_by_every_address() -> Scenario {
    alone().bridged()
}

pub(in crate::scenario) fn a_pod_reaches_itself_and_others() -> Scenario {
    among_others()
}

pub(in crate::scenario) fn a_pod_on_a_bridge_reaches_itself_and_its_neighbours() -> Scenario {
    among_others().bridged()
}

pub(in crate::scenario) fn a_pod_reaches_itself_under_local_policies() -> Scenario {
    under_local_policies().needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn a_pod_on_a_bridge_reaches_itself_under_local_policies() -> Scenario {
    under_local_policies().bridged().needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn pod_reaches_itself_without_pod_detection() -> Scenario {
    where_nothing_tells_pods()
}

pub(in crate::scenario) fn pod_on_a_bridge_reaches_itself_without_pod_detection() -> Scenario {
    where_nothing_tells_pods().bridged()
}

pub(in crate::scenario) fn a_pod_that_no_slice_places_reaches_itself() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [anywhere(1), away(2)]))
        .expect(from([ENDPOINT]).to([cluster_ip(WEB)]).reaches([1, 2]).as_themselves())
}

pub(in crate::scenario) fn a_terminating_pod_reaches_itself_while_none_is_ready() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1).terminating(), away(2).terminating()]))
        .expect(from([ENDPOINT]).to(everywhere()).reaches([1, 2]).as_themselves())
        .needing(Need::LocalShortCut)
}

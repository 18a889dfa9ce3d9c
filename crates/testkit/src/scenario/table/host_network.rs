//! Endpoints in the network of the node itself, such as the API server's.
//!
//! What is sent to them does not leave the node, so they see who sends, whatever would be masqueraded
//! elsewhere.

use super::all_reach;
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, web};
use crate::scenario::packet::{
    CLIENT, HOST, NODE_ITSELF, POD, Sender, WEB, cluster_ip, everywhere, external, node_port,
};

pub(in crate::scenario) fn all_clients_reach_a_program_on_the_node() -> Scenario {
    Scenario::new().given(web()).given(pods("web", [here(HOST)])).expect_all(all_reach(&[HOST]))
}

pub(in crate::scenario) fn a_program_on_the_node_and_pods_share_a_service() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(HOST), here(1), away(2)]))
        .expect_all(all_reach(&[HOST, 1, 2]))
}

pub(in crate::scenario) fn a_program_on_the_node_is_an_endpoint_here() -> Scenario {
    Scenario::new()
        .given(web().internal_local().external_local())
        .given(pods("web", [here(HOST), away(2)]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([HOST]).as_themselves())
        .expect(from([CLIENT]).to(external()).reaches([HOST]).as_themselves())
        .expect(from([POD]).to(external()).reaches([HOST, 2]).as_themselves())
        .expect(from([NODE_ITSELF]).to(external()).reaches([HOST, 2]).as_the_node())
        .needing(Need::LocalShortCut)
}

/// The program asks itself, from the address that it serves on.
pub(in crate::scenario) fn a_program_on_the_node_reaches_itself() -> Scenario {
    let itself = Sender::NodeBoundTo(node_port(WEB).addresses);
    Scenario::new()
        .given(web())
        .given(pods("web", [here(HOST)]))
        .expect(from([itself]).to(everywhere()).reaches([HOST]).as_the_node())
        .given(pods("web", [here(HOST), here(1)]))
        .expect(from([itself]).to(everywhere()).reaches([HOST, 1]).as_the_node())
}

pub(in crate::scenario) fn all_clients_on_a_bridge_reach_a_program_on_the_node() -> Scenario {
    Scenario::new()
        .bridged()
        .given(web())
        .given(pods("web", [here(HOST), here(1)]))
        .expect_all(all_reach(&[HOST, 1]))
}

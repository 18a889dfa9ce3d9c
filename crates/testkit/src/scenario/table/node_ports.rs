//! `nodePortAddresses`: where node ports answer.

use portolan_core::node::NodePortSelection;

use crate::objects::node;
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{NODE, here, net, pods, this_node, web};
use crate::scenario::packet::{CLIENT, Destination, NODE_ITSELF, POD, WEB, node_port};

/// The node port at addresses that are not the node's first ones.
fn at(kind: &'static str, v4: &str, v6: &str) -> Destination {
    Destination::new(kind, v4, v6, node_port(WEB).port)
}

fn at_outer_address() -> Destination {
    at("node port at the outer address", "198.51.100.1", "2001:db8:100::1")
}

fn at_gateway() -> Destination {
    at("node port at the pods' gateway", "10.244.0.1", "fd00:10:244::1")
}

/// An address that the node gets besides its first one.
fn at_second_address() -> Destination {
    at("node port at a second address", "192.0.2.77", "2001:db8:2::77")
}

fn at_loopback() -> Destination {
    at("node port at loopback", "127.0.0.1", "::1")
}

fn selecting(selection: NodePortSelection) -> Scenario {
    Scenario::new()
        .configured(|config| config.node_port_addresses = selection)
        .given(this_node())
        .given_node_address("192.0.2.77")
        .given_node_address("2001:db8:2::77")
        .given(web())
        .given(pods("web", [here(1)]))
}

fn ranges(texts: &[&str]) -> NodePortSelection {
    NodePortSelection::Cidrs(texts.iter().map(|text| net(text)).collect())
}

pub(in crate::scenario) fn without_ranges_every_address_answers_but_loopback() -> Scenario {
    selecting(ranges(&[]))
        .expect(
            from([CLIENT, POD, NODE_ITSELF])
                .to([node_port(WEB), at_outer_address(), at_gateway(), at_second_address()])
                .reaches([1])
                .as_the_node(),
        )
        .expect(from([NODE_ITSELF]).to([at_loopback()]).passes_untouched())
        .needing(Need::SilentLoopback)
}

pub(in crate::scenario) fn only_addresses_within_the_ranges_answer() -> Scenario {
    selecting(ranges(&["192.0.2.0/26", "2001:db8:2::/122"]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([node_port(WEB)]).reaches([1]).as_the_node())
        .expect(
            from([CLIENT, POD, NODE_ITSELF])
                .to([at_outer_address(), at_gateway(), at_second_address()])
                .passes_untouched(),
        )
        .expect(from([NODE_ITSELF]).to([at_loopback()]).passes_untouched())
}

pub(in crate::scenario) fn a_second_address_within_the_ranges_answers() -> Scenario {
    selecting(ranges(&["192.0.2.0/24", "2001:db8:2::/64"]))
        .expect(
            from([CLIENT, POD, NODE_ITSELF])
                .to([node_port(WEB), at_second_address()])
                .reaches([1])
                .as_the_node(),
        )
        .expect(from([CLIENT, POD]).to([at_outer_address()]).passes_untouched())
}

pub(in crate::scenario) fn an_address_that_comes_later_answers_if_it_is_within_the_ranges() -> Scenario {
    Scenario::new()
        .configured(|config| config.node_port_addresses = ranges(&["192.0.2.64/26", "2001:db8:2::70/124"]))
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([node_port(WEB), at_gateway()]).passes_untouched())
        .given_node_address("192.0.2.77")
        .given_node_address("2001:db8:2::77")
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([at_second_address()]).reaches([1]).as_the_node())
        .expect(from([CLIENT]).to([node_port(WEB)]).passes_untouched())
}

pub(in crate::scenario) fn ranges_of_one_family_leave_the_other_open() -> Scenario {
    use portolan_core::IpFamily::{V4, V6};
    selecting(ranges(&["192.0.2.1/32"]))
        .expect(from([CLIENT]).to([at_second_address()]).over(V4).passes_untouched())
        .expect(from([CLIENT]).to([at_second_address()]).over(V6).reaches([1]).as_the_node())
}

pub(in crate::scenario) fn loopback_does_not_answer_though_the_ranges_hold_it() -> Scenario {
    selecting(ranges(&["127.0.0.0/8", "192.0.2.1/32", "::1/128", "2001:db8:2::1/128"]))
        .expect(from([NODE_ITSELF]).to([at_loopback()]).passes_untouched())
        .expect(from([CLIENT, NODE_ITSELF]).to([node_port(WEB)]).reaches([1]).as_the_node())
        .needing(Need::SilentLoopback)
}

pub(in crate::scenario) fn primary_is_the_addresses_of_the_node_object() -> Scenario {
    selecting(NodePortSelection::Primary)
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([node_port(WEB)]).reaches([1]).as_the_node())
        .expect(
            from([CLIENT, POD, NODE_ITSELF])
                .to([at_outer_address(), at_gateway(), at_second_address()])
                .passes_untouched(),
        )
}

pub(in crate::scenario) fn primary_follows_the_node_object() -> Scenario {
    selecting(NodePortSelection::Primary)
        .expect(from([CLIENT]).to([node_port(WEB)]).reaches([1]).as_the_node())
        .expect(from([CLIENT]).to([at_second_address()]).passes_untouched())
        .given(node(NODE, &["192.0.2.77", "2001:db8:2::77", "192.0.2.1", "2001:db8:2::1"]))
        .expect(from([CLIENT]).to([at_second_address()]).reaches([1]).as_the_node())
        .expect(from([CLIENT]).to([node_port(WEB)]).passes_untouched())
}

pub(in crate::scenario) fn a_node_port_without_endpoints_is_refused_only_where_it_would_answer() -> Scenario {
    Scenario::new()
        .configured(|config| config.node_port_addresses = NodePortSelection::Primary)
        .given(this_node())
        .given(web())
        .given(pods("web", []))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([node_port(WEB)]).is_refused())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([at_outer_address()]).passes_untouched())
        .expect(from([NODE_ITSELF]).to([at_loopback()]).passes_untouched())
        .needing(Need::RefusalsWithinRanges)
}

pub(in crate::scenario) fn a_local_policy_drops_only_where_the_node_port_would_answer() -> Scenario {
    use crate::scenario::need::Need;
    use crate::scenario::objects::away;
    Scenario::new()
        .needing(Need::DropWithoutLocalEndpoints)
        .configured(|config| config.node_port_addresses = NodePortSelection::Primary)
        .given(this_node())
        .given(web().external_local())
        .given(pods("web", [away(1)]))
        .expect(from([CLIENT]).to([node_port(WEB)]).is_dropped())
        .expect(from([CLIENT, POD]).to([at_outer_address()]).passes_untouched())
        .needing(Need::RefusalsWithinRanges)
}

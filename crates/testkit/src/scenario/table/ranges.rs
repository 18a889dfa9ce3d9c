//! `loadBalancerSourceRanges`: who may use the load-balancer addresses.

use portolan_core::address::PerFamily;

use super::all_reach;
use crate::netns::{NODE_V4, NODE_V6};
use crate::objects::ServiceBuilder;
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, this_node, web};
use crate::scenario::packet::{
    CLIENT, NODE_ITSELF, POD, Sender, WEB, cluster_ip, external_ip, load_balancer_ip, node_port, vip,
};

/// Another machine outside, which no range of [`for_client`] has.
const STRANGER: Sender = Sender::Client(1);
/// A program on the node that uses the node's address.
const NODE_BY_ITS_ADDRESS: Sender =
    Sender::NodeBoundTo(PerFamily { v4: std::net::IpAddr::V4(NODE_V4), v6: std::net::IpAddr::V6(NODE_V6) });

/// [`web`] for the client alone.
fn for_client() -> ServiceBuilder {
    web().source_range("192.0.2.2/32").source_range("2001:db8:2::2/128")
}

/// [`web`] for the network that the client and the node are in.
fn for_node_network() -> ServiceBuilder {
    web().source_range("192.0.2.0/24").source_range("2001:db8:2::/64")
}

pub(in crate::scenario) fn a_client_in_a_range_gets_through() -> Scenario {
    Scenario::new()
        .given(for_client())
        .given(pods("web", [here(1), away(2)]))
        .expect(from([CLIENT]).to([load_balancer_ip(WEB)]).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn all_other_clients_are_dropped_pods_and_the_node_included() -> Scenario {
    Scenario::new()
        .given(for_client())
        .given(pods("web", [here(1), away(2)]))
        .expect(from([STRANGER, POD, NODE_ITSELF]).to([load_balancer_ip(WEB)]).is_dropped())
}

pub(in crate::scenario) fn only_load_balancer_addresses_are_guarded() -> Scenario {
    Scenario::new()
        .given(for_client())
        .given(pods("web", [here(1), away(2)]))
        .expect(
            from([STRANGER, POD, NODE_ITSELF])
                .to([node_port(WEB), external_ip(WEB)])
                .reaches([1, 2])
                .as_the_node(),
        )
        .expect(from([STRANGER, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([1, 2]).as_the_node())
        .expect(from([POD]).to([cluster_ip(WEB)]).reaches([1, 2]).as_themselves())
}

pub(in crate::scenario) fn all_load_balancer_addresses_are_guarded() -> Scenario {
    let vips = [load_balancer_ip(WEB), vip("second load-balancer IP", 82)];
    let second = for_client().load_balancer_ip("203.0.113.82").load_balancer_ip("2001:db8:113::82");
    Scenario::new()
        .given(second)
        .given(pods("web", [here(1)]))
        .expect(from([CLIENT]).to(vips).reaches([1]).as_the_node())
        .expect(from([STRANGER, POD]).to(vips).is_dropped())
}

pub(in crate::scenario) fn outsiders_are_dropped_also_where_others_are_refused() -> Scenario {
    Scenario::new()
        .given(for_client())
        .given(pods("web", []))
        .expect(from([CLIENT]).to([load_balancer_ip(WEB)]).is_refused())
        .expect(from([STRANGER, POD]).to([load_balancer_ip(WEB)]).is_dropped())
        .expect(from([STRANGER]).to([external_ip(WEB), node_port(WEB)]).is_refused())
        .needing(Need::RangesWithoutEndpoints)
}

pub(in crate::scenario) fn ranges_hold_under_the_local_policy_before_pods_get_their_short_cut() -> Scenario {
    Scenario::new()
        .given(for_client().external_local())
        .given(pods("web", [here(1), away(2)]))
        .expect(from([CLIENT]).to([load_balancer_ip(WEB)]).reaches([1]).as_themselves())
        .expect(from([STRANGER, POD, NODE_ITSELF]).to([load_balancer_ip(WEB)]).is_dropped())
        .expect(from([STRANGER]).to([external_ip(WEB), node_port(WEB)]).reaches([1]).as_themselves())
}

pub(in crate::scenario) fn a_range_of_pods_lets_pods_in() -> Scenario {
    Scenario::new()
        .given(web().source_range("10.244.0.0/24").source_range("fd00:10:244::/64"))
        .given(pods("web", [here(1), away(2)]))
        .expect(from([POD]).to([load_balancer_ip(WEB)]).reaches([1, 2]).as_the_node())
        .expect(from([CLIENT]).to([load_balancer_ip(WEB)]).is_dropped())
}

pub(in crate::scenario) fn several_ranges_add_up() -> Scenario {
    let ranges = ["192.0.2.0/30", "192.0.2.101/32", "2001:db8:2::/126", "2001:db8:2::1001/128"];
    let service = ranges.iter().fold(web(), |service, range| service.source_range(range));
    Scenario::new()
        .given(service)
        .given(pods("web", [here(1)]))
        .expect(from([CLIENT, Sender::Client(1)]).to([load_balancer_ip(WEB)]).reaches([1]).as_the_node())
        .expect(from([Sender::Client(2), POD]).to([load_balancer_ip(WEB)]).is_dropped())
}

pub(in crate::scenario) fn range_of_all_addresses_allows_all_clients() -> Scenario {
    Scenario::new()
        .given(for_client().source_range("0.0.0.0/0").source_range("::/0"))
        .given(pods("web", [here(1), away(2)]))
        .expect_all(all_reach(&[1, 2]))
        .expect(from([STRANGER]).to([load_balancer_ip(WEB)]).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn ranges_of_one_family_leave_the_other_open() -> Scenario {
    use portolan_core::IpFamily::{V4, V6};
    let strangers = || from([STRANGER, POD]).to([load_balancer_ip(WEB)]);
    Scenario::new()
        .given(web().source_range("192.0.2.2/32"))
        .given(pods("web", [here(1), away(2)]))
        .expect(strangers().over(V4).is_dropped())
        .expect(strangers().over(V6).reaches([1, 2]).as_the_node())
        .given(web().source_range("2001:db8:2::2/128"))
        .expect(strangers().over(V6).is_dropped())
        .expect(strangers().over(V4).reaches([1, 2]).as_the_node())
}

pub(in crate::scenario) fn ranges_are_followed() -> Scenario {
    let to_vip = |senders: &[Sender]| from(senders.iter().copied()).to([load_balancer_ip(WEB)]);
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect(to_vip(&[CLIENT, STRANGER]).reaches([1]).as_the_node())
        .given(for_client())
        .expect(to_vip(&[CLIENT]).reaches([1]).as_the_node())
        .expect(to_vip(&[STRANGER]).is_dropped())
        .given(web().source_range("198.18.0.0/15").source_range("2001:db8:18::/48"))
        .expect(to_vip(&[CLIENT, STRANGER, POD]).is_dropped())
        .given(web())
        .expect(to_vip(&[CLIENT, STRANGER]).reaches([1]).as_the_node())
}

pub(in crate::scenario) fn the_node_gets_through_by_an_address_in_a_range() -> Scenario {
    Scenario::new()
        .given(this_node())
        .given(for_node_network())
        .given(pods("web", [here(1), away(2)]))
        .expect(from([NODE_BY_ITS_ADDRESS]).to([load_balancer_ip(WEB)]).reaches([1, 2]).as_the_node())
        .expect(from([NODE_ITSELF, POD]).to([load_balancer_ip(WEB)]).is_dropped())
        .needing(Need::OuterSource)
}

/// Where the node has the load-balancer address itself, as cloud agents set it up, what it sends there
/// comes from that address.
fn node_with_the_address(service: ServiceBuilder) -> Scenario {
    Scenario::new()
        .given(this_node())
        .given_node_address("203.0.113.80")
        .given_node_address("2001:db8:113::80")
        .given(service)
        .given(pods("web", [here(1), away(2)]))
}

pub(in crate::scenario) fn the_node_gets_through_by_the_load_balancer_address_where_a_range_has_the_node()
-> Scenario {
    let node = Sender::NodeBoundTo(load_balancer_ip(WEB).addresses);
    node_with_the_address(for_node_network())
        .expect(from([node, NODE_BY_ITS_ADDRESS]).to([load_balancer_ip(WEB)]).reaches([1, 2]).as_the_node())
        .expect(from([POD]).to([load_balancer_ip(WEB)]).is_dropped())
}

pub(in crate::scenario) fn the_node_is_dropped_by_the_load_balancer_address_where_no_range_has_the_node()
-> Scenario {
    let node = Sender::NodeBoundTo(load_balancer_ip(WEB).addresses);
    node_with_the_address(for_client()).expect(from([node]).to([load_balancer_ip(WEB)]).is_dropped())
}

pub(in crate::scenario) fn ranges_follow_the_address_of_the_node() -> Scenario {
    let node = Sender::NodeBoundTo(load_balancer_ip(WEB).addresses);
    let moved = crate::objects::node("node1", &["198.51.100.1", "2001:db8:100::1"]);
    node_with_the_address(for_node_network())
        .expect(from([node]).to([load_balancer_ip(WEB)]).reaches([1, 2]).as_the_node())
        .given(moved)
        .expect(from([node]).to([load_balancer_ip(WEB)]).is_dropped())
}

/// Without a Node object, the node's address counts as loopback's.
pub(in crate::scenario) fn a_range_with_loopback_stands_for_a_node_that_is_not_known() -> Scenario {
    let node = Sender::NodeBoundTo(load_balancer_ip(WEB).addresses);
    Scenario::new()
        .given_node_address("203.0.113.80")
        .given_node_address("2001:db8:113::80")
        .given(web().source_range("127.0.0.0/8").source_range("::1/128"))
        .given(pods("web", [here(1), away(2)]))
        .expect(from([node]).to([load_balancer_ip(WEB)]).reaches([1, 2]).as_the_node())
        .expect(from([CLIENT, POD]).to([load_balancer_ip(WEB)]).is_dropped())
}

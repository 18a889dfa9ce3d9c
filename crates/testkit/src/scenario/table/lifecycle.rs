//! Services that come, change and go.

use portolan_core::Protocol::{Tcp, Udp};

use super::{all_are_refused, all_reach};
use crate::objects::{ServiceBuilder, service};
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::objects::{away, gone, here, pods, pods_on, service_at, web};
use crate::scenario::packet::{
    CLIENT, NODE_ITSELF, POD, WEB, cluster_ip, everywhere, external, external_ip, load_balancer_ip,
    node_port, vip,
};

/// [`web`] without the addresses of a load balancer.
fn without_load_balancer() -> ServiceBuilder {
    let addresses = cluster_ip(WEB).addresses;
    let bare = service("shop/web", &format!("{},{}", addresses.v4, addresses.v6));
    bare.port("tcp", Tcp, 80).node_port(30_080)
}

pub(in crate::scenario) fn a_service_may_come_before_its_endpoints() -> Scenario {
    Scenario::new()
        .given(web())
        .expect(all_are_refused())
        .given(pods("web", [here(1), away(2)]))
        .expect_all(all_reach(&[1, 2]))
}

pub(in crate::scenario) fn endpoints_may_come_before_their_service() -> Scenario {
    Scenario::new()
        .given(pods("web", [here(1), away(2)]))
        .expect(from([CLIENT]).to(everywhere()).passes_untouched())
        .given(web())
        .expect_all(all_reach(&[1, 2]))
}

pub(in crate::scenario) fn a_service_that_goes_and_comes_back_is_served_again() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1), away(2)]))
        .expect_all(all_reach(&[1, 2]))
        .given(gone("web"))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to(everywhere()).passes_untouched())
        .given(web())
        .expect_all(all_reach(&[1, 2]))
}

pub(in crate::scenario) fn a_service_whose_type_changes_answers_as_its_type_says() -> Scenario {
    let by_tcp = |pods: [u8; 1]| {
        [
            from([CLIENT]).to([cluster_ip(WEB)]).by([Tcp]).reaches(pods).as_the_node(),
            from([CLIENT]).to([node_port(WEB)]).by([Tcp]).reaches(pods).as_the_node(),
        ]
    };
    let addresses = cluster_ip(WEB).addresses;
    let internal = service("shop/web", &format!("{},{}", addresses.v4, addresses.v6)).port("tcp", Tcp, 80);
    Scenario::new()
        .given(without_load_balancer())
        .given(pods_on("web", "pods", &[("tcp", Tcp, 8080)], [here(1)]))
        .expect_all(by_tcp([1]))
        .given(internal)
        .expect(from([CLIENT]).to([cluster_ip(WEB)]).by([Tcp]).reaches([1]).as_the_node())
        .expect(from([CLIENT]).to([node_port(WEB)]).by([Tcp]).passes_untouched())
        .given(gone("web"))
        .expect(from([CLIENT]).to([cluster_ip(WEB), node_port(WEB)]).by([Tcp]).passes_untouched())
        .given(without_load_balancer())
        .expect_all(by_tcp([1]))
}

/// [`web`] with so many addresses that a mode may serve them in another way than a few.
fn with_many_addresses() -> ServiceBuilder {
    (201..=208).fold(web(), |web, last| {
        web.external_ip(&format!("203.0.113.{last}")).external_ip(&format!("2001:db8:113::{last}"))
    })
}

pub(in crate::scenario) fn addresses_that_a_service_loses_are_left_alone() -> Scenario {
    let many = || {
        let to = [external_ip(WEB), load_balancer_ip(WEB), vip("external IP", 201), vip("external IP", 208)];
        from([CLIENT]).to(to).by([Tcp, Udp])
    };
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect_all(all_reach(&[1]))
        .given(with_many_addresses())
        .expect(many().reaches([1]).as_the_node())
        .given(pods("web", [here(1), away(2)]))
        .expect(many().reaches([1, 2]).as_the_node())
        .given(pods("web", []))
        .expect(many().is_refused())
        .given(pods("web", [here(1)]))
        .expect(many().reaches([1]).as_the_node())
        .given(web())
        .expect_all(all_reach(&[1]))
        .expect(from([CLIENT]).to([vip("external IP", 201)]).by([Tcp]).passes_untouched())
        .given(without_load_balancer())
        .expect(from([CLIENT]).to([cluster_ip(WEB), node_port(WEB)]).by([Tcp]).reaches([1]).as_the_node())
        .expect(
            from([CLIENT, POD, NODE_ITSELF])
                .to([load_balancer_ip(WEB), external_ip(WEB)])
                .by([Tcp])
                .passes_untouched(),
        )
}

pub(in crate::scenario) fn a_load_balancer_needs_no_node_port() -> Scenario {
    let addresses = cluster_ip(WEB).addresses;
    let service = service("shop/web", &format!("{},{}", addresses.v4, addresses.v6))
        .port("tcp", Tcp, 80)
        .load_balancer_ip("203.0.113.80")
        .load_balancer_ip("2001:db8:113::80")
        .external_local();
    Scenario::new()
        .given(service)
        .given(pods("web", [here(1), away(2)]))
        .expect(from([CLIENT]).to([load_balancer_ip(WEB)]).by([Tcp]).reaches([1]).as_themselves())
        .expect(from([CLIENT, NODE_ITSELF]).to([node_port(WEB)]).by([Tcp]).passes_untouched())
}

/// What a load balancer with `ipMode: Proxy` announces never reaches the model.
pub(in crate::scenario) fn a_load_balancer_that_is_a_proxy_keeps_its_traffic() -> Scenario {
    Scenario::new()
        .given(without_load_balancer())
        .given(pods_on("web", "pods", &[("tcp", Tcp, 8080)], [here(1)]))
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([load_balancer_ip(WEB)]).by([Tcp]).passes_untouched())
        .expect(from([CLIENT]).to([node_port(WEB)]).by([Tcp]).reaches([1]).as_the_node())
}

pub(in crate::scenario) fn a_service_that_moves_to_other_addresses_answers_there_only() -> Scenario {
    let moved = service_at("web", 90);
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect_all(all_reach(&[1]))
        .given(moved)
        .expect(from([CLIENT]).to(everywhere()).passes_untouched())
        .expect(
            from([CLIENT])
                .to([cluster_ip(90), node_port(90), load_balancer_ip(90), external_ip(90)])
                .reaches([1])
                .as_the_node(),
        )
}

pub(in crate::scenario) fn endpoints_that_change_are_followed_one_by_one() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .expect_all(all_reach(&[1]))
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect_all(all_reach(&[1, 2, 3]))
        .given(pods("web", [here(2), away(3)]))
        .expect_all(all_reach(&[2, 3]))
        .given(pods("web", [away(3)]))
        .expect_all(all_reach(&[3]))
}

pub(in crate::scenario) fn an_endpoint_that_moves_to_another_node_is_no_longer_local() -> Scenario {
    Scenario::new()
        .given(web().external_local())
        .given(pods("web", [here(1), away(2)]))
        .expect(from([CLIENT]).to(external()).reaches([1]).as_themselves())
        .given(pods("web", [away(1), here(2)]))
        .expect(from([CLIENT]).to(external()).reaches([2]).as_themselves())
}

pub(in crate::scenario) fn an_address_that_a_service_gives_up_serves_the_next() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .given(pods("heir", [here(2)]))
        .expect_all(all_reach(&[1]))
        .given(gone("web"))
        .given(service_at("heir", WEB))
        .expect_all(all_reach(&[2]))
}

//! Ports and protocols: who serves what.

use portolan_core::Protocol::{self, Sctp, Tcp, Udp};

use crate::objects::{ServiceBuilder, service};
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, pods_on, service_at, web};
use crate::scenario::packet::{
    CLIENT, Destination, NODE_ITSELF, POD, WEB, cluster_ip, load_balancer_ip, node_port, vip,
};

/// A Service with the cluster IPs of [`web`] and with no ports yet.
fn bare() -> ServiceBuilder {
    let addresses = cluster_ip(WEB).addresses;
    service("shop/web", &format!("{},{}", addresses.v4, addresses.v6))
}

pub(in crate::scenario) fn each_protocol_on_one_port_has_endpoints_of_its_own() -> Scenario {
    let mut scenario = Scenario::new().given(web());
    for (protocol, pod) in [(Tcp, 1), (Udp, 2), (Sctp, 3)] {
        let name = protocol.to_string();
        scenario = scenario.given(pods_on("web", &name, &[(&name, protocol, 8080)], [here(pod)]));
    }
    for (protocol, pod) in [(Tcp, 1), (Udp, 2), (Sctp, 3)] {
        let addresses = [cluster_ip(WEB), node_port(WEB), load_balancer_ip(WEB)];
        scenario = scenario.expect(from([CLIENT]).to(addresses).by([protocol]).reaches([pod]).as_the_node());
    }
    scenario
}

pub(in crate::scenario) fn one_protocol_may_lack_endpoints_while_another_has_them() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods_on("web", "tcp", &[("tcp", Tcp, 8080)], [here(1)]))
        .expect(from([CLIENT]).to([cluster_ip(WEB), node_port(WEB)]).by([Tcp]).reaches([1]).as_the_node())
        .expect(from([CLIENT]).to([cluster_ip(WEB), node_port(WEB)]).by([Udp, Sctp]).is_refused())
}

pub(in crate::scenario) fn a_port_of_one_protocol_is_no_port_of_another() -> Scenario {
    Scenario::new()
        .needing(Need::UndefinedPorts)
        .given(bare().port("tcp", Tcp, 80))
        .given(pods_on("web", "tcp", &[("tcp", Tcp, 8080)], [here(1)]))
        .expect(from([CLIENT]).to([cluster_ip(WEB)]).by([Tcp]).reaches([1]).as_the_node())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([cluster_ip(WEB)]).by([Udp, Sctp]).is_refused())
}

pub(in crate::scenario) fn a_node_port_of_one_protocol_is_no_node_port_of_another() -> Scenario {
    Scenario::new()
        .given(bare().port("tcp", Tcp, 80).node_port(30_080))
        .given(pods_on("web", "tcp", &[("tcp", Tcp, 8080)], [here(1)]))
        .expect(from([CLIENT]).to([node_port(WEB)]).by([Tcp]).reaches([1]).as_the_node())
        .expect(from([CLIENT, POD, NODE_ITSELF]).to([node_port(WEB)]).by([Udp]).passes_untouched())
}

pub(in crate::scenario) fn a_second_protocol_may_join_a_node_port() -> Scenario {
    let to = |protocol| from([CLIENT, NODE_ITSELF]).to([node_port(WEB)]).by([protocol]);
    let one = bare().port("tcp", Tcp, 80).node_port(30_080);
    let both = one.clone().port("udp", Udp, 80).node_port(30_080);
    Scenario::new()
        .given(one.clone())
        .given(pods("web", [here(1), away(2)]))
        .expect(to(Tcp).reaches([1, 2]).as_the_node())
        .expect(to(Udp).passes_untouched())
        .given(both)
        .expect(to(Tcp).reaches([1, 2]).as_the_node())
        .expect(to(Udp).reaches([1, 2]).as_the_node())
        .given(one)
        .expect(to(Udp).passes_untouched())
}

pub(in crate::scenario) fn every_port_of_a_service_has_its_own_endpoints() -> Scenario {
    let ports: [(&str, Protocol, u16); 2] = [("http", Tcp, 8080), ("admin", Tcp, 9090)];
    let to = |port| from([CLIENT, NODE_ITSELF]).to([cluster_ip(WEB).at(port)]).by([Tcp]);
    Scenario::new()
        .given(bare().port("http", Tcp, 80).port("admin", Tcp, 81).port("none", Tcp, 82))
        .given(pods_on("web", "both", &ports, [here(1)]))
        .given(pods_on("web", "http", &ports[..1], [away(2)]))
        .expect(to(80).reaches([1, 2]).as_the_node())
        .expect(to(81).reaches_ports([(1, 9090)]).as_the_node())
        .expect(to(82).is_refused())
}

pub(in crate::scenario) fn several_node_ports_of_a_service_lead_to_their_own_ports() -> Scenario {
    let service = bare().port("http", Tcp, 80).node_port(30_080).port("admin", Tcp, 81).node_port(30_081);
    let ports = [("http", Tcp, 8080), ("admin", Tcp, 9090)];
    let to = |port| from([CLIENT, POD, NODE_ITSELF]).to([node_port(WEB).at(port)]).by([Tcp]);
    Scenario::new()
        .given(service)
        .given(pods_on("web", "both", &ports, [here(1), away(2)]))
        .expect(to(30_080).reaches([1, 2]).as_the_node())
        .expect(to(30_081).reaches_ports([(1, 9090), (2, 9090)]).as_the_node())
}

pub(in crate::scenario) fn slices_may_give_one_port_different_numbers() -> Scenario {
    Scenario::new()
        .given(bare().port("http", Tcp, 80))
        .given(pods_on("web", "old", &[("http", Tcp, 8080)], [here(1), away(2)]))
        .given(pods_on("web", "new", &[("http", Tcp, 9090)], [here(2), here(3)]))
        .expect(
            from([CLIENT])
                .to([cluster_ip(WEB)])
                .by([Tcp])
                .reaches_ports([(1, 8080), (2, 8080), (2, 9090), (3, 9090)])
                .as_the_node(),
        )
}

pub(in crate::scenario) fn several_slices_add_up_and_go_one_by_one() -> Scenario {
    let ports: Vec<_> =
        Protocol::ALL.iter().map(|protocol| (protocol.to_string(), *protocol, 8080)).collect();
    let ports: Vec<_> =
        ports.iter().map(|(name, protocol, port)| (name.as_str(), *protocol, *port)).collect();
    let slice = |name: &str, members| pods_on("web", name, &ports, members);
    Scenario::new()
        .given(web())
        .given(slice("a", vec![here(1)]))
        .given(slice("b", vec![here(1), away(2)]))
        .given(slice("c", vec![here(3)]))
        .expect_all(super::all_reach(&[1, 2, 3]))
        .given(slice("b", vec![]))
        .expect_all(super::all_reach(&[1, 3]))
        .given(slice("a", vec![]))
        .expect_all(super::all_reach(&[3]))
}

pub(in crate::scenario) fn slices_that_name_an_endpoint_twice_make_it_one() -> Scenario {
    let slice = |name, members| pods_on("web", name, &[("http", Tcp, 8080)], members);
    let tcp = || from([CLIENT]).to([cluster_ip(WEB)]).by([Tcp]);
    Scenario::new()
        .given(bare().port("http", Tcp, 80))
        .given(slice("a", vec![here(1), away(2)]))
        .given(slice("b", vec![here(1)]))
        .expect(tcp().reaches([1, 2]).as_the_node())
}

/// A pod that ended and one that got its address may be in two slices for a while, in either order.
pub(in crate::scenario) fn a_running_pod_wins_over_one_that_had_its_address() -> Scenario {
    let slice = |name, member| pods_on("web", name, &[("http", Tcp, 8080)], [member]);
    let tcp = || from([CLIENT]).to([cluster_ip(WEB)]).by([Tcp]);
    Scenario::new()
        .given(bare().port("http", Tcp, 80))
        .given(slice("a", here(1)))
        .given(slice("b", here(1).ended()))
        .given(slice("c", away(2)))
        .expect(tcp().reaches([1, 2]).as_the_node())
        .given(slice("a", here(1).ended()))
        .given(slice("b", here(1)))
        .expect(tcp().reaches([1, 2]).as_the_node())
        .given(slice("b", here(1).ended()))
        .expect(tcp().reaches([2]).as_the_node())
}

pub(in crate::scenario) fn a_service_of_one_family_answers_in_that_family_only() -> Scenario {
    use portolan_core::IpFamily::{V4, V6};
    let single = |address: &str| {
        let bare = service("shop/web", address);
        bare.port("tcp", Tcp, 80).node_port(30_080)
    };
    let addresses = cluster_ip(WEB).addresses;
    let to = |family| from([CLIENT, POD, NODE_ITSELF]).to([node_port(WEB)]).by([Tcp]).over(family);
    Scenario::new()
        .given(single(&addresses.v4.to_string()))
        .given(pods_on("web", "pods", &[("tcp", Tcp, 8080)], [here(1), away(2)]))
        .expect(to(V4).reaches([1, 2]).as_the_node())
        .expect(to(V6).passes_untouched())
        .given(single(&addresses.v6.to_string()))
        .expect(to(V6).reaches([1, 2]).as_the_node())
        .expect(to(V4).passes_untouched())
}

/// An external IP may be the node's own address, and its port the node port of another Service.
pub(in crate::scenario) fn an_address_of_the_node_goes_before_a_node_port_of_another_service() -> Scenario {
    let [first, second] = [(WEB, "web"), (90, "other")].map(|(number, name)| {
        let addresses = cluster_ip(number).addresses;
        service(&format!("shop/{name}"), &format!("{},{}", addresses.v4, addresses.v6))
    });
    let at_gateway = || Destination::new("node port at the gateway", "10.244.0.1", "fd00:10:244::1", 30_080);
    let by_tcp = |to: Destination| from([CLIENT]).to([to]).by([Tcp]);
    Scenario::new()
        .given(first.port("tcp", Tcp, 30_080).external_ip("192.0.2.1").external_ip("2001:db8:2::1"))
        .given(pods_on("web", "pods", &[("tcp", Tcp, 8080)], [here(1)]))
        .given(second.port("tcp", Tcp, 80).node_port(30_080))
        .expect(by_tcp(node_port(WEB)).reaches([1]).as_the_node())
        .expect(by_tcp(at_gateway()).is_refused())
        .given(pods_on("other", "pods", &[("tcp", Tcp, 8080)], [here(2)]))
        .expect(by_tcp(node_port(WEB)).reaches([1]).as_the_node())
        .expect(by_tcp(at_gateway()).reaches([2]).as_the_node())
}

pub(in crate::scenario) fn a_changed_target_port_is_followed() -> Scenario {
    Scenario::new()
        .given(bare().port("http", Tcp, 80))
        .given(pods_on("web", "pods", &[("http", Tcp, 8080)], [here(1), away(2)]))
        .expect(from([CLIENT]).to([cluster_ip(WEB)]).by([Tcp]).reaches([1, 2]).as_the_node())
        .given(pods_on("web", "pods", &[("http", Tcp, 9090)], [here(1), away(2)]))
        .expect(
            from([CLIENT])
                .to([cluster_ip(WEB)])
                .by([Tcp])
                .reaches_ports([(1, 9090), (2, 9090)])
                .as_the_node(),
        )
}

pub(in crate::scenario) fn one_service_does_not_answer_for_another() -> Scenario {
    let other = service_at("other", 90);
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1)]))
        .given(other)
        .given(pods("other", [away(2)]))
        .expect_all(super::all_reach(&[1]))
        .expect(
            from([CLIENT])
                .to([cluster_ip(90), node_port(90), load_balancer_ip(90), vip("external IP", 190)])
                .reaches([2])
                .as_the_node(),
        )
        .given(pods("other", []))
        .expect_all(super::all_reach(&[1]))
        .expect(from([CLIENT]).to([cluster_ip(90), node_port(90)]).is_refused())
}

pub(in crate::scenario) fn two_services_may_share_endpoints() -> Scenario {
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1), away(2)]))
        .given(service_at("other", 90).external_local())
        .given(pods("other", [here(1), away(2)]))
        .expect_all(super::all_reach(&[1, 2]))
        .expect(from([CLIENT]).to([node_port(90), load_balancer_ip(90)]).reaches([1]).as_themselves())
}

//! Ports and protocols: who serves what.

use portolan_core::Protocol::{self, Sctp, Tcp, Udp};

use crate::objects::{ServiceBuilder, service};
use crate::scenario::Scenario;
use crate::scenario::check::from;
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, pods_on, service_at, web};
use crate::scenario::packet::{CLIENT, NODE_ITSELF, POD, WEB, cluster_ip, load_balancer_ip, node_port, vip};

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

//! `sessionAffinity: ClientIP`: clients that come back to the same endpoint.

mod changes;
mod time;

pub(in crate::scenario) use changes::*;
pub(in crate::scenario) use time::*;

use std::time::Duration;

use portolan_core::IpFamily::{V4, V6};
use portolan_core::Protocol::Tcp;

use crate::objects::{ServiceBuilder, service};
use crate::scenario::Scenario;
use crate::scenario::check::{Check, from};
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, pods_on, web};
use crate::scenario::packet::{
    CLIENT, NODE_ITSELF, POD, Sender, WEB, cluster_ip, everywhere, external, load_balancer_ip, node_port,
};

/// The default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const THREE_HOURS: Duration = Duration::from_secs(10_800);

fn sticky() -> ServiceBuilder {
    web().affinity(THREE_HOURS)
}

/// That many machines outside.
fn clients(count: u8) -> impl Iterator<Item = Sender> {
    (1..=count).map(Sender::Client)
}

pub(in crate::scenario) fn a_client_stays_with_its_endpoint_by_all_addresses_alike() -> Scenario {
    Scenario::new()
        .needing(Need::SharedAffinity)
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([CLIENT, POD]).to(everywhere()).stays("endpoint", [1, 2, 3]))
}

pub(in crate::scenario) fn a_client_stays_with_its_endpoint_by_the_cluster_ip() -> Scenario {
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([CLIENT, POD]).to([cluster_ip(WEB)]).stays("endpoint", [1, 2, 3]).times(30))
}

pub(in crate::scenario) fn a_client_stays_with_its_endpoint_by_the_node_port() -> Scenario {
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([CLIENT, POD]).to([node_port(WEB)]).stays("endpoint", [1, 2, 3]).times(30))
}

pub(in crate::scenario) fn a_client_stays_with_its_endpoint_by_the_load_balancer_address() -> Scenario {
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([CLIENT, POD]).to([load_balancer_ip(WEB)]).stays("endpoint", [1, 2, 3]).times(30))
}

pub(in crate::scenario) fn clients_do_not_influence_each_other() -> Scenario {
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from(clients(25)).to([cluster_ip(WEB)]).stays("endpoint", [1, 2, 3]).times(3))
        .expect(Check::Spread("endpoint"))
        .expect(from(clients(25)).to([cluster_ip(WEB)]).stays("endpoint", [1, 2, 3]).times(3))
}

pub(in crate::scenario) fn fifty_clients_stay_through_a_hundred_connections_each() -> Scenario {
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(
            from(clients(50))
                .to([cluster_ip(WEB)])
                .by([Tcp])
                .over(V4)
                .stays("endpoint", [1, 2, 3])
                .times(100),
        )
        .expect(Check::Spread("endpoint"))
}

pub(in crate::scenario) fn families_do_not_influence_each_other() -> Scenario {
    let by = |family, memory| {
        from(clients(25)).to([cluster_ip(WEB)]).by([Tcp]).over(family).stays(memory, [1, 2, 3]).times(2)
    };
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(by(V4, "IPv4"))
        .expect(by(V6, "IPv6"))
        .expect(Check::Apart("IPv4", "IPv6"))
}

pub(in crate::scenario) fn ports_of_a_service_do_not_influence_each_other() -> Scenario {
    let addresses = cluster_ip(WEB).addresses;
    let service = service("shop/web", &format!("{},{}", addresses.v4, addresses.v6))
        .port("http", Tcp, 80)
        .port("admin", Tcp, 81)
        .affinity(THREE_HOURS);
    let at = |port, memory| {
        from(clients(25)).to([cluster_ip(WEB).at(port)]).by([Tcp]).over(V4).stays(memory, [1, 2, 3]).times(2)
    };
    Scenario::new()
        .given(service)
        .given(pods_on(
            "web",
            "pods",
            &[("http", Tcp, 8080), ("admin", Tcp, 8080)],
            [here(1), here(2), here(3)],
        ))
        .expect(at(80, "http"))
        .expect(at(81, "admin"))
        .expect(Check::Apart("http", "admin"))
}

pub(in crate::scenario) fn under_the_external_local_policy_clients_stay_with_an_endpoint_here() -> Scenario {
    Scenario::new()
        .needing(Need::SharedAffinity)
        .given(sticky().external_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from(clients(12)).to(external()).stays("endpoint", [1, 2]).times(3))
        .expect(Check::Spread("endpoint"))
}

pub(in crate::scenario) fn under_the_internal_local_policy_pods_stay_with_an_endpoint_here() -> Scenario {
    Scenario::new()
        .given(sticky().internal_local())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([POD]).to([cluster_ip(WEB)]).stays("endpoint", [1, 2]).times(12))
}

/// A client that has an endpoint of another node by the cluster IP must not be led there by an address
/// whose policy is Local.
pub(in crate::scenario) fn an_endpoint_that_a_policy_rules_out_is_not_used_though_it_is_remembered()
-> Scenario {
    Scenario::new()
        .given(sticky().external_local())
        .given(pods("web", [here(1), away(2), away(3)]))
        .expect(from(clients(10)).to([cluster_ip(WEB)]).stays("inside", [1, 2, 3]).times(2))
        .expect(from(clients(10)).to(external()).stays("outside", [1]).times(2))
}

/// The other way round: what a client got by an address of the Cluster policy may be elsewhere.
pub(in crate::scenario) fn an_endpoint_elsewhere_is_not_used_by_a_local_cluster_ip_though_it_is_remembered()
-> Scenario {
    Scenario::new()
        .needing(Need::SharedAffinity)
        .given(sticky().internal_local())
        .given(pods("web", [here(1), away(2), away(3)]))
        .expect(from(clients(10)).to(external()).stays("outside", [1, 2, 3]).times(2))
        .expect(from(clients(10)).to([cluster_ip(WEB)]).stays("inside", [1]).times(2))
}

pub(in crate::scenario) fn the_node_stays_with_its_endpoint() -> Scenario {
    let node = Sender::NodeBoundTo(node_port(WEB).addresses);
    Scenario::new()
        .needing(Need::SharedAffinity)
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([node]).to(everywhere()).stays("endpoint", [1, 2, 3]))
        .expect(from([NODE_ITSELF]).to([cluster_ip(WEB)]).stays("by its outer address", [1, 2, 3]).times(20))
}

pub(in crate::scenario) fn clients_that_stay_are_masqueraded_like_others() -> Scenario {
    Scenario::new()
        .given(sticky().external_local())
        .given(pods("web", [here(1)]))
        .expect(from([POD]).to([cluster_ip(WEB)]).reaches([1]).as_themselves())
        .expect(from([CLIENT]).to([cluster_ip(WEB)]).reaches([1]).as_the_node())
        .expect(from([CLIENT]).to(external()).reaches([1]).as_themselves())
        .given(sticky())
        .expect_all(super::all_reach(&[1]))
}

pub(in crate::scenario) fn a_pod_stays_with_itself() -> Scenario {
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1)]))
        .expect(from([Sender::Pod(1)]).to(everywhere()).reaches([1]).as_the_node())
        .expect(from([Sender::Pod(1)]).to(everywhere()).stays("endpoint", [1]))
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(from([Sender::Pod(1)]).to(everywhere()).stays("endpoint", [1, 2, 3]))
        .needing(Need::SharedAffinity)
}

pub(in crate::scenario) fn ranges_guard_a_service_that_clients_stay_with() -> Scenario {
    Scenario::new()
        .given(sticky().source_range("192.0.2.2/32").source_range("2001:db8:2::2/128"))
        .given(pods("web", [here(1), away(2)]))
        .expect(from([CLIENT]).to([load_balancer_ip(WEB)]).stays("endpoint", [1, 2]).times(4))
        .expect(from(clients(1)).to([load_balancer_ip(WEB)]).is_dropped())
        .expect(from(clients(1)).to([node_port(WEB)]).stays("endpoint", [1, 2]).times(4))
        .expect(from(clients(1)).to([load_balancer_ip(WEB)]).is_dropped())
        .needing(Need::SharedAffinity)
}

//! What clients that stay with their endpoint do when endpoints, ports or policies change.

use portolan_core::Protocol::{Tcp, Udp};

use super::{clients, sticky};
use crate::objects::ServiceBuilder;
use crate::scenario::Scenario;
use crate::scenario::check::{Check, from};
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, pods, pods_on, web};
use crate::scenario::packet::{
    CLIENT, Sender, WEB, cluster_ip, everywhere, external, load_balancer_ip, node_port,
};
use crate::scenario::table::all_are_refused;

pub(in crate::scenario) fn clients_of_an_endpoint_that_goes_get_another_and_the_rest_stay() -> Scenario {
    let all = || from(clients(20)).to([cluster_ip(WEB), node_port(WEB)]).by([Tcp, Udp]);
    Scenario::new()
        .needing(Need::SharedAffinity)
        .given(sticky())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(all().stays("endpoint", [1, 2, 3]).times(2))
        .given(pods("web", [here(1), away(3)]))
        .expect(all().stays("endpoint", [1, 3]).times(2))
        .given(pods("web", [away(3)]))
        .expect(all().stays("endpoint", [3]).times(2))
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(all().stays("endpoint", [1, 2, 3]).times(2))
}

pub(in crate::scenario) fn clients_stay_when_endpoints_join() -> Scenario {
    let all = || from(clients(10)).to([cluster_ip(WEB)]);
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2)]))
        .expect(all().stays("endpoint", [1, 2]).times(3))
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect(all().stays("endpoint", [1, 2, 3]).times(3))
}

pub(in crate::scenario) fn clients_leave_an_endpoint_that_terminates() -> Scenario {
    let all = || from(clients(10)).to([cluster_ip(WEB)]);
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2)]))
        .expect(all().stays("endpoint", [1, 2]).times(3))
        .given(pods("web", [here(1).terminating(), here(2)]))
        .expect(all().stays("endpoint", [2]).times(3))
}

pub(in crate::scenario) fn clients_are_refused_when_all_endpoints_go_and_served_when_one_comes() -> Scenario {
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), here(2)]))
        .expect(from([CLIENT]).to(everywhere()).stays("endpoint", [1, 2]))
        .given(pods("web", []))
        .expect(all_are_refused())
        .given(pods("web", [away(3)]))
        .expect(from([CLIENT]).to(everywhere()).stays("endpoint", [3]))
        .needing(Need::SharedAffinity)
}

pub(in crate::scenario) fn affinity_can_be_turned_off_and_on() -> Scenario {
    let to = || from([CLIENT]).to(everywhere());
    Scenario::new()
        .given(web())
        .given(pods("web", [here(1), here(2)]))
        .expect(to().reaches([1, 2]).as_the_node())
        .given(sticky())
        .expect(to().stays("at first", [1, 2]))
        .given(web())
        .expect(to().reaches([1, 2]).as_the_node())
        .given(sticky())
        .expect(to().stays("again", [1, 2]))
        .needing(Need::SharedAffinity)
}

/// A Service whose pods are about to change their port: some serve on the old one, some on the new one,
/// and pod 2 on both.
fn on_two_ports(service: ServiceBuilder) -> Scenario {
    Scenario::new()
        .given(service)
        .given(pods_on("web", "old", &[("tcp", Tcp, 8080)], [here(1), away(2)]))
        .given(pods_on("web", "new", &[("tcp", Tcp, 9090)], [away(2), here(3)]))
}

pub(in crate::scenario) fn clients_stay_where_endpoints_serve_on_different_ports() -> Scenario {
    let all = || from(clients(20)).to([cluster_ip(WEB), node_port(WEB), load_balancer_ip(WEB)]).by([Tcp]);
    let both = [(1, 8080), (2, 8080), (2, 9090), (3, 9090)];
    on_two_ports(sticky())
        .needing(Need::SharedAffinity)
        .expect(all().stays_at_ports("endpoint", both).times(2))
        .expect(Check::Spread("endpoint"))
        .given(pods_on("web", "old", &[("tcp", Tcp, 8080)], [here(1)]))
        .expect(all().stays_at_ports("endpoint", [(1, 8080), (2, 9090), (3, 9090)]).times(2))
        .given(pods_on("web", "old", &[("tcp", Tcp, 8080)], []))
        .expect(all().stays_at_ports("endpoint", [(2, 9090), (3, 9090)]).times(2))
        .given(pods_on("web", "old", &[("tcp", Tcp, 8080)], [here(1), away(2)]))
        .expect(all().stays_at_ports("endpoint", both).times(2))
}

pub(in crate::scenario) fn clients_stay_under_a_local_policy_where_endpoints_serve_on_different_ports()
-> Scenario {
    let inside = || from(clients(12)).to([cluster_ip(WEB)]).by([Tcp]);
    let outside = || from((13..25).map(Sender::Client)).to(external()).by([Tcp]);
    on_two_ports(sticky().external_local())
        .needing(Need::SharedAffinity)
        .expect(inside().stays_at_ports("inside", [(1, 8080), (2, 8080), (2, 9090), (3, 9090)]).times(2))
        .expect(outside().stays_at_ports("outside", [(1, 8080), (3, 9090)]).times(2))
        .given(pods_on("web", "old", &[("tcp", Tcp, 8080)], [away(2)]))
        .expect(inside().stays_at_ports("inside", [(2, 8080), (2, 9090), (3, 9090)]).times(2))
        .expect(outside().stays_at_ports("outside", [(3, 9090)]).times(2))
}

pub(in crate::scenario) fn clients_get_another_endpoint_when_all_change_their_port() -> Scenario {
    let all = || from(clients(12)).to([cluster_ip(WEB)]).by([Tcp]);
    Scenario::new()
        .given(sticky())
        .given(pods_on("web", "pods", &[("tcp", Tcp, 8080)], [here(1), away(2)]))
        .expect(all().stays_at_ports("endpoint", [(1, 8080), (2, 8080)]).times(2))
        .given(pods_on("web", "pods", &[("tcp", Tcp, 9090)], [here(1), away(2)]))
        .expect(all().stays_at_ports("endpoint", [(1, 9090), (2, 9090)]).times(2))
}

pub(in crate::scenario) fn a_policy_that_changes_takes_clients_away_from_what_it_rules_out() -> Scenario {
    let by_cluster_ip = || from(clients(12)).to([cluster_ip(WEB)]);
    Scenario::new()
        .given(sticky())
        .given(pods("web", [here(1), away(2), away(3)]))
        .expect(by_cluster_ip().stays("endpoint", [1, 2, 3]).times(2))
        .given(sticky().internal_local())
        .expect(by_cluster_ip().stays("endpoint", [1]).times(2))
}

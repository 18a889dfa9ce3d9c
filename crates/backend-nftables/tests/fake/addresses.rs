//! Service ports with many addresses, which share a chain and slots.

use std::time::Duration;

use portolan_core::Protocol::{Tcp, Udp};
use portolan_core::event::Service;
use portolan_testkit::objects::{ServiceBuilder, service, slice};

use super::*;

/// What a Service has besides its addresses.
type Kind = fn(ServiceBuilder) -> ServiceBuilder;

/// A Service with so many external IPs.
fn web(addresses: usize) -> ServiceBuilder {
    let web = service("ns/web", "10.96.0.10").port("", Tcp, 80);
    (0..addresses).fold(web, |web, i| web.external_ip(&format!("203.{}.{}.1", i / 250, i % 250)))
}

/// The pods of a Service, of which those below ten are on this node.
fn pods(lasts: &[u8]) -> Event {
    let pods = slice("ns/web-1", "web").port("", Tcp, 8080);
    let node = |last: u8| if last < 10 { world::THIS_NODE } else { "n2" };
    lasts.iter().fold(pods, |pods, last| pods.on(node(*last), &format!("10.244.0.{last}"))).applied()
}

fn loaded(service: Service, pods_there: &[u8]) -> Node {
    let mut node = Node::new(config(), [Event::Service(Change::Applied(service)), pods(pods_there)]);
    node.apply_all();
    node.assert_serves_the_plan();
    node
}

#[test]
fn an_endpoint_change_costs_the_same_however_many_addresses_a_service_has() {
    let kinds: [(&str, Kind); 3] = [
        ("plain", |web| web),
        ("with affinity", |web| web.affinity(Duration::from_secs(60))),
        ("under the Local policy", ServiceBuilder::external_local),
    ];
    for (kind, kind_of) in kinds {
        let costs = [10, 500].map(|addresses| {
            let mut node = loaded(kind_of(web(addresses)).build(), &[1, 11, 12]);
            let changes: [&[u8]; 4] = [&[1, 11, 13], &[1, 11, 12, 13], &[2], &[2, 3]];
            changes.map(|pods_there| {
                let report = node.handle([pods(pods_there)]).apply();
                node.assert_serves_the_plan();
                (report.operations, report.messages, report.bytes)
            })
        });
        assert_eq!(costs[0], costs[1], "{kind}");
    }
}

#[test]
fn the_first_endpoint_and_the_last_cost_the_same_however_many_addresses_a_service_has() {
    let costs = [10, 500].map(|addresses| {
        let mut node = loaded(web(addresses).build(), &[]);
        let changes: [&[u8]; 2] = [&[11], &[]];
        changes.map(|pods_there| {
            let report = node.handle([pods(pods_there)]).apply();
            node.assert_serves_the_plan();
            (report.operations, report.messages, report.bytes)
        })
    });
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn an_address_more_or_less_costs_one_element() {
    let mut node = loaded(web(100).build(), &[1, 11]);
    for addresses in [101, 100] {
        assert_eq!(node.handle([web(addresses).applied()]).apply().operations, 1);
        node.assert_serves_the_plan();
    }
}

#[test]
fn a_service_can_change_between_few_and_many_addresses_with_other_changes() {
    let kinds: [Kind; 5] = [
        |web| web,
        |web| web.node_port(30080),
        |web| web.external_local().node_port(30080),
        |web| web.affinity(Duration::from_secs(60)),
        |web| web.external_local().load_balancer_ip("198.51.100.7").source_range("192.0.2.0/24"),
    ];
    for from in kinds {
        for to in kinds {
            let mut node = loaded(from(web(2)).build(), &[1, 11]);
            for (change, pods_there) in
                [(to(web(9)), [1, 12]), (from(web(9)), [2, 12]), (to(web(3)), [2, 11])]
            {
                node.handle([change.applied(), pods(&pods_there)]).apply();
                node.assert_serves_the_plan();
            }
            node.handle([Event::Service(Change::Deleted(portolan_core::ObjectName::new("ns", "web")))])
                .apply();
            node.assert_serves_the_plan();
        }
    }
}

#[test]
fn another_process_adopts_existing_slots() {
    let mut node = loaded(web(50).internal_local().build(), &[11, 12, 13, 14]);
    node.handle([pods(&[11, 13, 14])]).apply();
    let mut node = node.restart();
    assert_eq!(node.apply_all(), 0, "the slots are not in the order of the list any more, and stay");
    let mut node = node.restart();
    node.handle([pods(&[11, 14, 15])]).apply();
    node.assert_serves_the_plan();
}

#[test]
fn addresses_of_two_ports_have_slots_for_each() {
    let web = web(20).port("dns", Udp, 53).port("tls", Tcp, 443).applied();
    let slices = slice("ns/web-1", "web").port("", Tcp, 1).port("dns", Udp, 2).port("tls", Tcp, 3);
    let mut node =
        Node::new(config(), [web, slices.on("n2", "10.244.0.11").on("n2", "10.244.0.12").applied()]);
    node.apply_all();
    node.assert_serves_the_plan();
}

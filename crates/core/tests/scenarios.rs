//! The rules of planning, one row or one scenario each; a file per subject.
//!
//! Seen from the node `n1`. Endpoints are written in a word each: `1@n2/serving~za+zb^n1` is
//! 10.244.0.1 on `n2`, which serves while it terminates, meant for two zones and one node.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

use portolan_core::address::{IpFamily, Protocol};
use portolan_core::event::{Change, Conditions, Event, Node};
use portolan_core::node::NodeConfig;
use portolan_core::plan::{Endpoint, ServicePort, Unserved};
use portolan_core::{ServicePortName, State};
use portolan_testkit::objects::{
    ServiceBuilder, SliceBuilder, empty_lists, node, object_name, service, service_cidr, slice,
};

#[path = "scenarios/flows.rs"]
mod flows;
#[path = "scenarios/gauges.rs"]
mod gauges;
#[path = "scenarios/health_checks.rs"]
mod health_checks;
#[path = "scenarios/identity.rs"]
mod identity;
#[path = "scenarios/merging.rs"]
mod merging;
#[path = "scenarios/node.rs"]
mod node_settings;
#[path = "scenarios/policies.rs"]
mod policies;
#[path = "scenarios/slices.rs"]
mod slices;
#[path = "scenarios/source_ranges.rs"]
mod source_ranges;
#[path = "scenarios/topology.rs"]
mod topology;
#[path = "scenarios/tracking.rs"]
mod tracking;
#[path = "scenarios/vip_owners.rs"]
mod vip_owners;

use IpFamily::{V4, V6};
use Protocol::{Sctp, Tcp, Udp};

/// A state that is ready and has taken in `events`.
fn state_of(events: impl IntoIterator<Item = Event>) -> State {
    let mut state = State::new(NodeConfig::new("n1"));
    empty_lists().into_iter().chain(events).for_each(|event| state.handle(event));
    state.prepare();
    state
}

/// Takes in more events.
fn happen(state: &mut State, events: impl IntoIterator<Item = Event>) {
    events.into_iter().for_each(|event| state.handle(event));
    state.prepare();
}

/// Brings both plans into force.
fn commit(state: &mut State) {
    for family in IpFamily::ALL {
        state.committed(family);
    }
}

fn deleted_service(name: &str) -> Event {
    Event::Service(Change::Deleted(object_name(name)))
}

fn deleted_slice(name: &str) -> Event {
    Event::EndpointSlice(Change::Deleted(object_name(name)))
}

/// This node, in a zone.
fn in_zone(zone: &str) -> Event {
    Event::Node(Change::Applied(Node { zone: Some(zone.into()), ..node("n1", &["192.0.2.1"]) }))
}

/// A TCP port of a Service.
fn planned<'a>(state: &'a State, family: IpFamily, service: &str, port: &str) -> Option<&'a ServicePort> {
    planned_l4(state, family, service, port, Tcp)
}

fn planned_l4<'a>(
    state: &'a State,
    family: IpFamily,
    service: &str,
    port: &str,
    protocol: Protocol,
) -> Option<&'a ServicePort> {
    let name = ServicePortName { service: object_name(service), port: port.into(), protocol };
    state.plan(family).service_ports.get(&name).map(AsRef::as_ref)
}

/// A TCP port in the plan of `family`, as text.
fn shown(state: &State, family: IpFamily, service: &str, port: &str) -> String {
    planned(state, family, service, port).map_or_else(|| "absent".to_owned(), |port| format!("{port:?}"))
}

fn endpoints(port: Option<&ServicePort>) -> String {
    port.map_or_else(|| "absent".to_owned(), |port| format!("{:?}", port.cluster_endpoints))
}

/// The service ports that changed in `family`, by name.
fn changed(state: &State, family: IpFamily) -> Vec<String> {
    let mut names: Vec<_> =
        state.changes(family).service_ports().map(|(name, _)| format!("{name:?}")).collect();
    names.sort();
    names
}

/// The Service that most tables are about, with one unnamed TCP port.
fn web() -> ServiceBuilder {
    service("ns/web", "10.96.0.1").port("", Tcp, 80)
}

/// Its only slice, with these endpoints.
fn pods(words: &str) -> Event {
    with_endpoints(slice("ns/web-1", "web").port("", Tcp, 8080), words).applied()
}

/// Adds endpoints to a slice.
fn with_endpoints(slice: SliceBuilder, words: &str) -> SliceBuilder {
    words.split_whitespace().fold(slice, with_endpoint)
}

fn with_endpoint(slice: SliceBuilder, word: &str) -> SliceBuilder {
    let (rest, nodes) = cut(word, '^');
    let (rest, zones) = cut(rest, '~');
    let (rest, condition) = cut(rest, '/');
    let (number, on) = cut(rest, '@');
    let slice = slice.endpoint(&format!("10.244.0.{number}"), on, conditions(condition.unwrap_or("ready")));
    match (zones, nodes) {
        (None, None) => slice,
        _ => slice.hinted(&parts(zones), &parts(nodes)),
    }
}

fn cut(word: &str, mark: char) -> (&str, Option<&str>) {
    word.split_once(mark).map_or((word, None), |(word, rest)| (word, Some(rest)))
}

fn parts(names: Option<&str>) -> Vec<&str> {
    names.into_iter().flat_map(|names| names.split('+')).collect()
}

fn conditions(word: &str) -> Conditions {
    let [ready, serving, terminating] = match word {
        "ready" => [true, true, false],
        "leaving" => [true, true, true],
        "serving" => [false, true, true],
        "answering" => [false, true, false],
        "contrary" => [true, false, false],
        "gone" => [false, false, true],
        "unready" => [false, false, false],
        other => panic!("{other} is no condition"),
    };
    Conditions { ready, serving, terminating }
}

/// The last parts of the endpoints' addresses.
fn numbers(endpoints: &[Endpoint]) -> String {
    let numbers: Vec<_> = endpoints
        .iter()
        .map(|endpoint| endpoint.address.to_string().rsplit('.').next().unwrap_or_default().to_owned())
        .collect();
    numbers.join(" ")
}

/// The Cluster list, the Local list, and what happens to connections whose list is empty.
fn lists(port: Option<&ServicePort>) -> (String, String, Unserved) {
    let port = port.expect("the port is in the plan");
    (numbers(&port.cluster_endpoints), numbers(&port.local_endpoints), port.unserved)
}

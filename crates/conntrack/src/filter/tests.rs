use portolan_core::event::Event;
use portolan_core::{ChangeSet, Protocol, State};
use portolan_testkit::objects::{empty_lists, service, service_cidr, slice};
use portolan_testkit::world;

use super::*;

/// The check of a start that finds these Services, each given by its name and cluster IPs.
fn check_of(services: &[(&str, &str)], family: IpFamily, more: impl IntoIterator<Item = Event>) -> FlowCheck {
    let mut state = State::new(world::config());
    let services =
        services.iter().map(|(name, ips)| service(name, ips).port("", Protocol::Udp, 53).applied());
    for event in empty_lists().into_iter().chain(services).chain(more) {
        state.handle(event);
    }
    state.prepare();
    FlowCheck::after(state.plan(family), &ChangeSet::complete())
}

fn to(destination: &str) -> Filter {
    Filter::Destination(destination.parse().unwrap())
}

#[test]
fn a_few_ipv4_frontends_are_listed_each_by_itself() {
    let check = check_of(&[("ns/a", "10.96.0.1"), ("ns/b", "10.96.0.2")], IpFamily::V4, []);
    let wanted = BTreeSet::from([to("10.96.0.1:53"), to("10.96.0.2:53")]);
    assert_eq!(Filter::covering(&check, IpFamily::V4, 2), wanted);
}

#[test]
fn frontends_of_one_port_are_listed_together_when_they_are_too_many() {
    let check = check_of(&[("ns/a", "10.96.0.1"), ("ns/b", "10.96.0.2")], IpFamily::V4, []);
    assert_eq!(Filter::covering(&check, IpFamily::V4, 1), BTreeSet::from([Filter::Port(53)]));
}

#[test]
fn ipv6_frontends_are_never_listed_by_address() {
    let check = check_of(&[("ns/a", "fd00::1"), ("ns/b", "fd00::2")], IpFamily::V6, []);
    assert_eq!(Filter::covering(&check, IpFamily::V6, 9), BTreeSet::from([Filter::Port(53)]));
}

#[test]
fn a_node_port_is_listed_by_its_number() {
    let dns = service("ns/a", "10.96.0.1").port("", Protocol::Udp, 53).node_port(30053);
    let pods = slice("ns/a-1", "a").port("", Protocol::Udp, 53).on("n1", "10.244.0.1");
    let check = check_of(&[], IpFamily::V4, [dns.applied(), pods.applied()]);
    let wanted = BTreeSet::from([to("10.96.0.1:53"), Filter::Port(30053)]);
    assert_eq!(Filter::covering(&check, IpFamily::V4, 2), wanted);
    assert_eq!(Filter::covering(&check, IpFamily::V4, 1), BTreeSet::from([Filter::Udp]));
}

#[test]
fn a_start_lists_by_what_it_serves_however_many_addresses_services_may_have() {
    let ranges = || service_cidr("default", &["10.96.0.0/16", "fd00::/112"]);
    let covering = |services: &[(&str, &str)], limit| {
        Filter::covering(&check_of(services, IpFamily::V4, [ranges()]), IpFamily::V4, limit)
    };
    assert_eq!(covering(&[("ns/a", "10.96.0.1")], 1), BTreeSet::from([to("10.96.0.1:53")]));
    assert_eq!(covering(&[("ns/a", "fd00::1")], 1), [].into(), "flows of IPv4 lead to none of them");
    assert_eq!(covering(&[], 1), [].into());
}

#[test]
fn frontends_of_too_many_ports_are_looked_for_among_all_udp_flows() {
    let services = (0..4).map(|number| {
        let vip = format!("10.96.0.{}", 1 + number);
        service(&format!("ns/s{number}"), &vip).port("", Protocol::Udp, 1000 + number).applied()
    });
    let check = check_of(&[], IpFamily::V4, services);
    assert_eq!(Filter::covering(&check, IpFamily::V4, 4).len(), 4);
    assert_eq!(Filter::covering(&check, IpFamily::V4, 3), BTreeSet::from([Filter::Udp]));
}

#[test]
fn a_filter_says_which_flows_it_admits() {
    let filters = [Filter::Nothing, Filter::Udp, Filter::Port(53), to("10.96.0.1:53")];
    let admitting = |destination: &str| -> Vec<bool> {
        let [source, destination] = ["10.1.1.1:1000", destination].map(|text| text.parse().unwrap());
        let flow = Flow { source, destination, reply_source: destination, reply_destination: source };
        filters.iter().map(|filter| filter.admits(&flow)).collect()
    };
    assert_eq!(admitting("10.96.0.1:53"), [true; 4]);
    assert_eq!(admitting("10.96.0.2:53"), [true, true, true, false]);
    assert_eq!(admitting("10.96.0.1:54"), [true, true, false, false]);
}

#[test]
fn a_filter_is_a_tuple_and_what_of_it_counts() {
    let mut bytes = Vec::new();
    let mut writer = MessageWriter::new(&mut bytes, 0, 0, 1);
    to("10.96.0.10:53").write(&mut writer);
    writer.finish().unwrap();
    let wanted: [&[u8]; 4] = [
        b"\x24\x00\x01\x80",
        b"\x0c\x00\x01\x80\x08\x00\x02\x00\x0a\x60\x00\x0a",
        b"\x14\x00\x02\x80\x05\x00\x01\x00\x11\x00\x00\x00\x06\x00\x03\x00\x00\x35\x00\x00",
        // Address, protocol and port.
        b"\x0c\x00\x19\x80\x08\x00\x01\x00\x2a\x00\x00\x00",
    ];
    assert_eq!(bytes[portolan_netlink::HEADER_LEN..], wanted.concat());
}

#[test]
fn a_filter_can_be_named_in_an_error() {
    assert_eq!(Filter::Udp.to_string(), "all tracked UDP flows");
    assert_eq!(to("10.96.0.1:53").to_string(), "tracked UDP flows to 10.96.0.1:53");
}

#[test]
fn small_tables_are_read_at_once_and_large_ones_by_frontend() {
    let limits = [0, 1_000, 10_000, 20_000, 100_000, 250_000].map(narrow_lists);
    assert_eq!(limits, [1, 1, 2, 3, 7, 9]);
    assert!(narrow_lists(u32::MAX) < 12, "however large the table, a list is a walk through all of it");
}

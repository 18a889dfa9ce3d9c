//! Sets that have to hold more than kube-proxy's do.

use portolan_backend_ipvs::Change;
use portolan_core::backend::Scope;
use portolan_core::event::Event;
use portolan_core::{IpFamily, Protocol};
use portolan_ipvs::{Capacity, Member, Set};
use portolan_testkit::objects::{object_name, service};
use portolan_testkit::world::config;

use crate::node::Node;

/// 256 ports at 256 external IPs: as many elements of one set as kube-proxy's hold.
const MOST: usize = 256 * 256;

/// A Service that fills the set of external IPs.
fn full() -> Event {
    let ports = (0..256).fold(service("shop/full", "10.96.0.1"), |service, port| {
        service.port(&format!("p{port}"), Protocol::Tcp, 1000 + port)
    });
    (0..256).fold(ports, |service, ip| service.external_ip(&format!("198.18.0.{ip}"))).applied()
}

fn one_more() -> Event {
    service("shop/one", "10.96.0.2").port("http", Protocol::Tcp, 80).external_ip("198.18.1.1").applied()
}

fn deleted(name: &str) -> Event {
    Event::Service(portolan_core::event::Change::Deleted(object_name(name)))
}

fn fitted(node: &Node) -> Vec<(Set, Capacity)> {
    std::mem::take(&mut node.kernels.v4.state().fitted)
}

fn external_ips(node: &Node) -> usize {
    node.kernels.v4.state().members[&Set::ExternalIp].len()
}

/// All is compared, as now and then, by a process that goes on or by a new one.
fn compare(node: &mut Node) {
    node.process.forget_applied();
    node.apply([]);
}

#[test]
fn a_full_sync_increases_the_capacity_of_the_one_set_that_needs_it() {
    let mut node = Node::new(config(), [full(), one_more()]);
    node.apply([]);
    assert_eq!(external_ips(&node), MOST + 1);
    assert_eq!(fitted(&node), [(Set::ExternalIp, Capacity::Large)]);
    compare(&mut node);
    let mut node = node.restart();
    node.apply([]);
    assert_eq!(fitted(&node), [], "it has the room by then");
}

#[test]
fn a_change_increases_the_capacity_with_the_first_element_that_exceeds_it() {
    let mut node = Node::new(config(), [full()]);
    node.apply([]);
    assert_eq!((external_ips(&node), fitted(&node)), (MOST, vec![]));
    node.handle([one_more()]);
    let report = node.try_apply(IpFamily::V4).unwrap();
    assert_eq!((external_ips(&node), fitted(&node)), (MOST + 1, vec![(Set::ExternalIp, Capacity::Large)]));
    // The set, two elements, two servers and two addresses, which a set knows as well.
    assert_eq!((report.scope, report.operations), (Scope::Partial, 9));
    // What comes and goes from then on replaces nothing.
    node.apply([deleted("shop/one")]);
    assert_eq!(node.apply([one_more()]).len(), 8);
    assert_eq!((external_ips(&node), fitted(&node)), (MOST + 1, vec![]));
}

#[test]
fn the_addresses_of_the_device_are_counted_as_well() {
    let mut node = Node::new(config(), []);
    node.apply([]);
    {
        // As if an earlier run had left that many, and one more were added before they are removed.
        let mut state = node.kernels.v4.state();
        let left = (0..MOST).map(|n| {
            let n = u32::try_from(n).unwrap();
            Member::Ip(std::net::Ipv4Addr::from(0x0a80_0000 + n).into())
        });
        state.members.insert(Set::IpvsIps, left.collect());
    }
    node.handle([one_more()]);
    compare(&mut node);
    assert_eq!(fitted(&node), [(Set::IpvsIps, Capacity::Large)]);
    assert_eq!(node.kernels.v4.state().members[&Set::IpvsIps].len(), 2);
}

#[test]
fn a_full_sync_returns_a_set_to_the_capacity_of_kube_proxy() {
    let mut node = Node::new(config(), [full(), one_more()]);
    node.apply([]);
    assert_eq!(fitted(&node), [(Set::ExternalIp, Capacity::Large)]);
    node.apply([deleted("shop/one")]);
    assert_eq!(fitted(&node), [], "a change alone gives nothing back");
    compare(&mut node);
    assert_eq!(fitted(&node), [(Set::ExternalIp, Capacity::Usual)]);
    // An earlier version made all of them large.
    for set in [Set::ClusterIp, Set::LoopBack, Set::IpvsIps] {
        node.kernels.v4.state().capacities.insert(set, Capacity::Large);
    }
    let mut node = node.restart();
    node.apply([]);
    let mut given = fitted(&node);
    given.sort_unstable_by_key(|(set, _)| *set);
    assert_eq!(given, [Set::LoopBack, Set::ClusterIp, Set::IpvsIps].map(|set| (set, Capacity::Usual)));
}

#[test]
fn a_set_that_cannot_be_resized_affects_only_service_ports_that_exceed_its_capacity() {
    let mut node = Node::new(config(), [full()]);
    node.apply([]);
    node.kernels.v4.state().fail_fit = true;
    node.handle([one_more()]);
    node.try_apply(IpFamily::V4).unwrap();
    let text = node.refusal().unwrap();
    assert!(text.contains("for shop/one:http") && !text.contains("other"), "{text}");
    let is_served = node.held(IpFamily::V4).0.keys().any(|key| key.address.to_string() == "198.18.1.1");
    assert!(is_served, "all but the element is there");
    node.kernels.v4.state().fail_fit = false;
    node.process.state.forget_applied(IpFamily::V4);
    let log: Vec<Change> = node.apply([]);
    assert!(log.iter().any(|change| format!("{change:?}").contains("198.18.1.1")), "{log:?}");
    assert_eq!((external_ips(&node), fitted(&node)), (MOST + 1, vec![(Set::ExternalIp, Capacity::Large)]));
}

//! What is learned from a kernel, in a network of the test's own.

use portolan_testkit::netns::{CLIENT_V4, CLIENT_V6, NODE_V4, Topology, isolated};

use super::*;

#[test]
fn a_route_to_a_network_leads_to_another_host_and_a_default_route_does_not() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let is_elsewhere = |family, address: IpAddr| {
            net.node().run(|| Captures::open(family).unwrap().is_elsewhere(address)).unwrap()
        };
        assert!(is_elsewhere(IpFamily::V4, CLIENT_V4.into()));
        assert!(is_elsewhere(IpFamily::V6, CLIENT_V6.into()));
        assert!(is_elsewhere(IpFamily::V4, "10.244.0.11".parse().unwrap()), "a pod");
        assert!(!is_elsewhere(IpFamily::V4, NODE_V4.into()), "this node");
        for (family, outside) in [(IpFamily::V4, "203.0.113.80"), (IpFamily::V6, "2001:db8:113::80")] {
            assert!(!is_elsewhere(family, outside.parse().unwrap()), "{outside}");
        }
    });
}

#[test]
fn the_probe_for_port_rules_leaves_none_behind() {
    isolated(|| {
        for family in IpFamily::ALL {
            assert!(Captures::begin(family).unwrap().by_port);
            assert_eq!(Captures::open(family).unwrap().dump().unwrap().len(), 0);
        }
    });
}

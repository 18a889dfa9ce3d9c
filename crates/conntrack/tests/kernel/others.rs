//! Flows that are none of ours, and zones.

use portolan_core::Protocol::Udp;
use portolan_core::event::Event;
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::objects::{service, slice};

use crate::cluster::{Cluster, become_node};
use crate::flows::{track, tracked, translated, untranslated};

fn dns() -> Event {
    service("kube-system/dns", "10.96.0.10").port("", Udp, 53).node_port(30053).applied()
}

fn pods(addresses: &[&str]) -> Event {
    let slice = slice("kube-system/dns-1", "dns").port("", Udp, 5353);
    addresses.iter().fold(slice, |slice, address| slice.on("n1", address)).applied()
}

#[test]
fn flows_to_other_hosts_that_pass_with_a_node_ports_number_stay() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([dns(), pods(&["10.244.0.1", "10.244.0.2"])]);
        let passing = [
            untranslated("10.1.1.1:1000", "198.51.100.7:30053"),
            untranslated("10.1.1.1:1001", "198.51.100.7:30053").masqueraded("192.0.2.1:1001"),
            // Another host's node port leads to the same endpoints, when both are routers.
            translated("10.1.1.1:1002", "198.51.100.7:30053", "10.244.0.2:5353"),
            translated("10.1.1.1:1003", "198.51.100.7:30053", "172.17.0.2:99"),
        ];
        track(passing);

        assert_eq!(cluster.happen([pods(&["10.244.0.1"])]), 0);
        assert_eq!(cluster.restart(), 0);
        assert_eq!(tracked(), passing.into());
    });
}

#[test]
fn an_address_is_this_nodes_when_a_local_route_says_so() {
    isolated(|| {
        Program::new("ip").args(["route", "add", "local", "198.51.100.0/24", "dev", "lo"]).run().unwrap();
        let mut cluster = Cluster::new();
        cluster.happen([dns(), pods(&["10.244.0.1"])]);
        track([untranslated("10.1.1.1:1000", "198.51.100.7:30053")]);

        assert_eq!(cluster.restart(), 1);
    });
}

#[test]
fn flows_that_have_nothing_to_do_with_services_stay() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([dns(), pods(&["10.244.0.1"])]);
        let others = [
            untranslated("10.1.1.1:1000", "198.51.100.7:53"),
            untranslated("10.1.1.1:1001", "198.51.100.7:53").masqueraded("192.0.2.1:1001"),
            translated("10.1.1.1:1002", "192.0.2.1:5000", "172.17.0.2:99"),
            // The other way round: a frontend as the sender.
            untranslated("10.96.0.10:53", "10.1.1.1:1003"),
            untranslated("[2001:db8:1::1]:1000", "[2001:db8:1::2]:53"),
        ];
        track(others);

        assert_eq!(cluster.restart(), 0);
        assert_eq!(tracked(), others.into());
    });
}

#[test]
fn stale_flows_go_from_every_zone_and_good_ones_stay_in_each() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([dns(), pods(&["10.244.0.1"])]);
        // The same tuples in both zones: only the zone tells them apart.
        let good = translated("10.1.1.1:1000", "10.96.0.10:53", "10.244.0.1:5353");
        let stale = translated("10.1.1.1:1001", "10.96.0.10:53", "10.244.0.9:5353");
        track([good, stale, good.in_zone(7), stale.in_zone(7)]);

        assert_eq!(cluster.restart(), 2);
        assert_eq!(tracked(), [good, good.in_zone(7)].into());
    });
}

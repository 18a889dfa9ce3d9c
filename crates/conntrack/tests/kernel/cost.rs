//! What a check costs, in entries that the kernel shows.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use portolan_core::Protocol::Udp;
use portolan_core::event::Event;
use portolan_core::flows::Flow;
use portolan_testkit::netns::isolated;
use portolan_testkit::objects::{service, slice};

use crate::cluster::{Cluster, become_node};
use crate::flows::{Tracked, UDP, forget_all, track, tracked, translated};

const OTHERS: u32 = 20_000;

/// Good flows to other services: one frontend each for a thousand of them.
fn others(v6: bool) -> impl Iterator<Item = Tracked> {
    let address = move |v4: u32, number: u32| {
        let host = v4 + number;
        if v6 {
            Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(host)).into()
        } else {
            Ipv4Addr::from(host).into()
        }
    };
    (0..OTHERS).map(move |number| {
        let source = SocketAddr::new(address(0x0a01_0000, number), 4000);
        let destination = SocketAddr::new(address(0x0a61_0000, number / 1000), 5000);
        let reply_source = SocketAddr::new(address(0x0af4_0000, number / 1000), 5000);
        let flow = Flow { source, destination, reply_source, reply_destination: source };
        Tracked { protocol: UDP, zone: 0, flow }
    })
}

fn pods(addresses: &[&str]) -> Event {
    let slice = slice("kube-system/dns-1", "dns").port("", Udp, 5353);
    addresses.iter().fold(slice, |slice, address| slice.on("n1", address)).applied()
}

/// Lets one of two endpoints go, one flow being stale, and gives what the kernel showed for it.
fn shown_for_one_stale_flow(vip: &str, endpoints: [&str; 2], stale: Tracked, v6: bool) -> u64 {
    become_node();
    let mut cluster = Cluster::new();
    let dns = service("kube-system/dns", vip).port("", Udp, 53).node_port(30053).applied();
    cluster.happen([dns, pods(&endpoints)]);
    track(others(v6).chain([stale]));
    let before = cluster.conntrack.flows_read();

    assert_eq!(cluster.happen([pods(&endpoints[..1])]), 1);

    assert_eq!(tracked().len(), usize::try_from(OTHERS).unwrap());
    cluster.conntrack.flows_read() - before
}

#[test]
fn one_stale_flow_among_many_others_is_all_that_the_kernel_shows() {
    isolated(|| {
        let stale = translated("10.1.200.1:1000", "10.96.0.10:53", "10.244.0.2:5353");
        let shown = shown_for_one_stale_flow("10.96.0.10", ["10.244.0.1", "10.244.0.2"], stale, false);
        assert_eq!(shown, 1);
    });
}

#[test]
fn one_stale_flow_of_ipv6_is_all_that_the_kernel_shows() {
    isolated(|| {
        let stale = translated("[2001:db8:1::1]:1000", "[fd00:10:96::a]:53", "[fd00:10:244::2]:5353");
        let endpoints = ["fd00:10:244::1", "fd00:10:244::2"];
        assert_eq!(shown_for_one_stale_flow("fd00:10:96::a", endpoints, stale, true), 1);
    });
}

/// Flows of IPv6 to other addresses are shown with those to the frontend, when they have its port.
#[test]
fn flows_to_the_same_port_elsewhere_stay_in_both_families() {
    isolated(|| {
        become_node();
        for (vip, endpoint, gone, client, elsewhere) in [
            ("10.96.0.10", "10.244.0.1", "10.244.0.2:5353", "10.1.1.1", "198.51.100.7:53"),
            (
                "fd00:10:96::a",
                "fd00:10:244::1",
                "[fd00:10:244::2]:5353",
                "2001:db8:1::1",
                "[2001:db8:7::1]:53",
            ),
        ] {
            let mut cluster = Cluster::new();
            let dns = service("kube-system/dns", vip).port("", Udp, 53).applied();
            cluster.happen([dns, pods(&[endpoint])]);
            let at = |address: &str, port| SocketAddr::new(address.parse().unwrap(), port).to_string();
            let stale = translated(&at(client, 1000), &at(vip, 53), gone);
            let others = [
                translated(&at(client, 1001), elsewhere, elsewhere),
                translated(&at(client, 1002), elsewhere, gone),
                translated(&at(client, 1003), &at(vip, 53), &at(endpoint, 5353)),
            ];
            track(others.into_iter().chain([stale]));

            assert_eq!(cluster.restart(), 1);
            assert_eq!(tracked(), others.into());
            forget_all();
        }
    });
}

#[test]
fn hundreds_of_frontends_are_checked_in_one_reading_of_the_udp_flows() {
    isolated(|| {
        let mut cluster = Cluster::new();
        let mut events = Vec::new();
        for number in 0..300_u16 {
            let name = format!("shop/s{number}");
            let vip = format!("10.96.{}.{}", number / 200, 1 + number % 200);
            events.push(service(&name, &vip).port("", Udp, 1000 + number).applied());
        }
        let pods = |address: &str| -> Vec<Event> {
            let pod = |number| {
                slice(&format!("shop/s{number}-1"), &format!("s{number}")).port("", Udp, 53).on("n1", address)
            };
            (0..300).map(|number| pod(number).applied()).collect()
        };
        cluster.happen(events.into_iter().chain(pods("10.244.0.1")));
        let stale = (0..300_u16).map(|number| {
            let vip = format!("10.96.{}.{}:{}", number / 200, 1 + number % 200, 1000 + number);
            translated("10.1.200.1:1000", &vip, &format!("10.244.0.1:{}", 53))
                .masqueraded(&format!("192.0.2.1:{}", 2000 + number))
        });
        track(others(false).chain(stale));
        let before = cluster.conntrack.flows_read();

        assert_eq!(cluster.happen(pods("10.244.0.2")), 300);

        assert_eq!(cluster.conntrack.flows_read() - before, u64::from(OTHERS) + 300);
    });
}

#[test]
fn an_empty_table_is_not_walked_and_a_check_of_nothing_asks_nothing() {
    isolated(|| {
        let mut cluster = Cluster::new();
        assert_eq!(cluster.restart(), 0);
        assert_eq!(cluster.conntrack.flows_read(), 0);
    });
}

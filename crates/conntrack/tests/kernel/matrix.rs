//! Every kind of frontend, every kind of flow to it, every protocol: which flows go.

use portolan_core::IpFamily;
use portolan_core::Protocol::Udp;
use portolan_core::event::Event;
use portolan_testkit::netns::isolated;
use portolan_testkit::objects::{service, slice};

use crate::cluster::{Cluster, NODE, become_node};
use crate::flows::{SCTP, TCP, Tracked, UDP, track, tracked, translated, untranslated};

/// One family's addresses.
struct Addresses {
    /// Cluster IP, load-balancer address, external IP.
    vips: [&'static str; 3],
    node: &'static str,
    client: &'static str,
    serving: &'static str,
    gone: &'static str,
}

const V4: Addresses = Addresses {
    vips: ["10.96.0.10", "203.0.113.5", "203.0.113.6"],
    node: NODE[0],
    client: "10.1.1.1",
    serving: "10.244.0.1",
    gone: "10.244.0.9",
};

const V6: Addresses = Addresses {
    vips: ["fd00:10:96::a", "2001:db8:113::5", "2001:db8:113::6"],
    node: NODE[1],
    client: "2001:db8:1::1",
    serving: "fd00:10:244::1",
    gone: "fd00:10:244::9",
};

fn at(address: &str, port: u16) -> String {
    std::net::SocketAddr::new(address.parse().unwrap(), port).to_string()
}

impl Addresses {
    fn service(&self) -> Event {
        let [cluster, balancer, external] = self.vips;
        let service = service("shop/dns", cluster).port("", Udp, 53).node_port(30053);
        service.load_balancer_ip(balancer).external_ip(external).applied()
    }

    fn slice(&self, endpoints: &[&str]) -> Event {
        self.slice_on("shop/dns-1", 5353, endpoints)
    }

    fn slice_on(&self, name: &str, port: u16, endpoints: &[&str]) -> Event {
        let family = IpFamily::of(self.node.parse().unwrap());
        let slice = slice(name, "dns").port("", Udp, port).family(family);
        endpoints.iter().fold(slice, |slice, endpoint| slice.on("n1", endpoint)).applied()
    }

    /// Flows to each frontend and beside it: to the endpoint that serves, to one that does not, to
    /// another port of the one that serves, to no endpoint. Each with whether it is stale.
    fn matrix(&self) -> Vec<(Tracked, bool)> {
        let frontends = self.vips.iter().map(|vip| (*vip, 53)).chain([(self.node, 30053)]);
        let mut flows = Vec::new();
        for (ip, port) in frontends {
            for (destination, is_served) in [(at(ip, port), true), (at(ip, port + 1), false)] {
                let endpoints = [
                    (at(self.serving, 5353), false),
                    (at(self.gone, 5353), true),
                    (at(self.serving, 5300), true),
                    (destination.clone(), true),
                ];
                for (endpoint, is_wrong) in endpoints {
                    for protocol in [UDP, TCP, SCTP] {
                        let source = at(self.client, 1024 + u16::try_from(flows.len()).unwrap());
                        let flow = translated(&source, &destination, &endpoint).of(protocol);
                        flows.push((flow, is_served && is_wrong && protocol == UDP));
                    }
                }
            }
        }
        flows
    }
}

/// Tracks the matrix, runs `clean`, and compares what is left and the count it gave.
fn expect_stale_to_go(addresses: &Addresses, clean: impl FnOnce() -> usize) {
    let matrix = addresses.matrix();
    track(matrix.iter().map(|(flow, _)| *flow));
    let removed = clean();
    let left = tracked();
    for (flow, is_stale) in &matrix {
        assert_eq!(left.contains(flow), !is_stale, "{flow:?}");
    }
    assert_eq!(removed, matrix.iter().filter(|(_, is_stale)| *is_stale).count());
    assert_eq!(removed, 4 * 3, "four frontends, three kinds of wrong");
}

#[test]
fn only_udp_flows_of_service_addresses_to_a_removed_endpoint_are_removed() {
    isolated(|| {
        become_node();
        for addresses in [&V4, &V6] {
            let mut cluster = Cluster::new();
            let before = [addresses.service(), addresses.slice(&[addresses.serving, addresses.gone])];
            cluster.happen(before);
            // A flow that another program translated to a port that never was the service's would stay.
            cluster.happen([addresses.slice_on("shop/dns-2", 5300, &[addresses.serving])]);
            expect_stale_to_go(addresses, || {
                let moved = addresses.slice_on("shop/dns-2", 5300, &[]);
                cluster.happen([addresses.slice(&[addresses.serving]), moved])
            });
        }
    });
}

#[test]
fn after_a_restart_the_same_flows_are_removed() {
    isolated(|| {
        become_node();
        for addresses in [&V4, &V6] {
            let mut cluster = Cluster::new();
            cluster.happen([addresses.service(), addresses.slice(&[addresses.serving])]);
            expect_stale_to_go(addresses, || cluster.restart());
        }
    });
}

#[test]
fn masqueraded_flows_are_judged_like_others() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([V4.service(), V4.slice(&[V4.serving, V4.gone])]);
        let node = |port: u16| at(V4.node, port);
        let flows = |endpoint: &str, first: u16| {
            let endpoint = at(endpoint, 5353);
            let to = |offset: u16, destination: String| {
                let source = at(V4.client, first + offset);
                translated(&source, &destination, &endpoint).masqueraded(&node(first + offset))
            };
            [to(0, at(V4.vips[0], 53)), to(1, at(V4.vips[2], 53)), to(2, node(30053))]
        };
        let (good, stale) = (flows(V4.serving, 2000), flows(V4.gone, 3000));
        track(good.into_iter().chain(stale));

        let removed = cluster.happen([V4.slice(&[V4.serving])]);

        assert_eq!(removed, stale.len());
        assert_eq!(tracked(), good.into_iter().collect());
    });
}

#[test]
fn an_endpoint_that_calls_its_own_service_keeps_its_flow_while_it_serves() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([V4.service(), V4.slice(&[V4.serving, V4.gone])]);
        let hairpin = |endpoint: &str, port: u16| {
            translated(&at(endpoint, port), &at(V4.vips[0], 53), &at(endpoint, 5353))
                .masqueraded(&at(V4.node, port))
        };
        let (good, stale) = (hairpin(V4.serving, 2000), hairpin(V4.gone, 2001));
        track([good, stale]);

        assert_eq!(cluster.happen([V4.slice(&[V4.serving])]), 1);
        assert_eq!(tracked(), [good].into());
    });
}

#[test]
fn flows_that_were_never_translated_go_when_the_first_endpoint_comes() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([V4.service()]);
        let early = [
            untranslated("10.1.1.1:1000", "10.96.0.10:53"),
            // On its way out of the cluster this one got the node's address.
            untranslated("10.1.1.1:1001", "203.0.113.5:53").masqueraded("192.0.2.1:1001"),
            untranslated("10.1.1.1:1002", "192.0.2.1:30053"),
        ];
        track(early);

        assert_eq!(cluster.happen([V4.slice(&[V4.serving])]), 3);
        assert_eq!(tracked(), [].into());
    });
}

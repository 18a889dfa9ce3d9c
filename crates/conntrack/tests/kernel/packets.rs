//! Entries of real packets: a client that keeps its source port, and rules as a proxy writes them.

use std::net::UdpSocket;
use std::time::Duration;

use portolan_core::Protocol::Udp;
use portolan_core::event::Event;
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::objects::{service, service_cidr, slice};

use crate::cluster::{Cluster, become_node};
use crate::flows::{tracked, untranslated};

const ENDPOINTS: [&str; 2] = ["10.244.0.1", "10.244.0.2"];

/// Translation of what this node sends to the service, as it is before the service has an endpoint.
fn set_rules(rule: &str) {
    let rules = format!(
        "table ip test
         delete table ip test
         table ip test {{
             chain output {{ type nat hook output priority -100; {rule}; }}
             chain postrouting {{ type nat hook postrouting priority 100; ip daddr 10.244.0.0/16 masquerade; }}
         }}"
    );
    Program::new("nft").args(["-f", "-"]).input(rules).run().unwrap();
}

fn pods(address: &str) -> Event {
    slice("kube-system/dns-1", "dns").port("", Udp, 5353).on("n1", address).applied()
}

const DNS: &str = "10.96.0.10:53";

/// A client on the node, and the two pods, all on loopback.
struct Party {
    client: UdpSocket,
    servers: [UdpSocket; 2],
}

impl Party {
    fn meet() -> Self {
        become_node();
        for address in ENDPOINTS {
            Program::new("ip").args(["address", "add", address, "dev", "lo"]).run().unwrap();
        }
        Program::new("ip").args(["route", "add", "10.96.0.0/16", "dev", "lo"]).run().unwrap();
        let servers = ENDPOINTS.map(|address| {
            let server = UdpSocket::bind((address, 5353)).unwrap();
            server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            server
        });
        Self { client: UdpSocket::bind("192.0.2.1:4000").unwrap(), servers }
    }

    /// Sends one datagram to a service and says which server got it.
    fn send(&self, to: &str) -> Option<usize> {
        self.client.send_to(b"anybody there?", to).unwrap();
        self.servers.iter().position(|server| server.recv(&mut [0; 32]).is_ok())
    }
}

#[test]
fn a_client_that_keeps_its_source_port_reaches_the_new_endpoint() {
    isolated(|| {
        let party = Party::meet();
        let mut cluster = Cluster::new();
        set_rules("accept");
        assert_eq!(party.send(DNS), None, "there is no such service yet");
        assert!(tracked().contains(&untranslated("192.0.2.1:4000", DNS)));

        set_rules("ip daddr 10.96.0.10 udp dport 53 dnat to 10.244.0.1:5353");
        assert_eq!(party.send(DNS), None, "rules alone do not change a flow that is known");
        let dns = service("kube-system/dns", "10.96.0.10").port("", Udp, 53).applied();
        assert_eq!(cluster.happen([dns, pods(ENDPOINTS[0])]), 1);
        assert_eq!(party.send(DNS), Some(0));

        set_rules("ip daddr 10.96.0.10 udp dport 53 dnat to 10.244.0.2:5353");
        assert_eq!(cluster.restart(), 0, "the endpoint of the flow still serves, by what is known");
        assert_eq!(party.send(DNS), Some(0), "so the flow stays with it");
        assert_eq!(cluster.happen([pods(ENDPOINTS[1])]), 1);
        assert_eq!(party.send(DNS), Some(1));
    });
}

#[test]
fn a_client_of_a_service_that_another_proxy_serves_stays_with_its_endpoint() {
    isolated(|| {
        let party = Party::meet();
        let mut cluster = Cluster::new();
        let cidr = |cidr: &str| service_cidr("default", &[cidr]);
        let dns = service("kube-system/dns", "10.96.0.10").port("", Udp, 53).node_port(30053).applied();
        cluster.happen([cidr("10.96.0.0/24"), dns, pods(ENDPOINTS[0])]);
        // The second has the number of our node port. Its address is no more this node's than the first.
        let theirs = ["10.96.0.77:99", "10.96.0.77:30053"];
        let lead_to = |endpoint: &str| {
            set_rules(&format!("ip daddr 10.96.0.77 udp dport {{ 99, 30053 }} dnat to {endpoint}:5353"));
        };
        let answering = || theirs.map(|to| party.send(to));
        lead_to(ENDPOINTS[0]);
        assert_eq!(answering(), [Some(0); 2]);

        // From now on a flow that was forgotten would go elsewhere.
        lead_to(ENDPOINTS[1]);
        assert_eq!(answering(), [Some(0); 2], "rules alone do not change a flow that is known");
        assert_eq!(cluster.restart(), 0);
        assert_eq!(answering(), [Some(0); 2], "a start");
        assert_eq!(cluster.compare(), 0);
        assert_eq!(answering(), [Some(0); 2], "a look at everything");
        assert_eq!(cluster.happen([cidr("10.96.0.0/16")]), 0);
        assert_eq!(answering(), [Some(0); 2], "more addresses for Services");
        assert_eq!(cluster.happen([pods(ENDPOINTS[1])]) + cluster.compare(), 0);
        assert_eq!(answering(), [Some(0); 2], "our own Service lost the endpoint that it shared");
    });
}

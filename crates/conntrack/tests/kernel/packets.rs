//! Entries of real packets: a client that keeps its source port, and rules as a proxy writes them.

use std::net::UdpSocket;
use std::time::Duration;

use portolan_core::Protocol::Udp;
use portolan_core::event::Event;
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::objects::{service, slice};

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

    /// Sends one datagram to the service and says which server got it.
    fn send(&self) -> Option<usize> {
        self.client.send_to(b"anybody there?", "10.96.0.10:53").unwrap();
        self.servers.iter().position(|server| server.recv(&mut [0; 32]).is_ok())
    }
}

#[test]
fn a_client_that_keeps_its_source_port_reaches_whoever_serves_now() {
    isolated(|| {
        let party = Party::meet();
        let mut cluster = Cluster::new();
        set_rules("accept");
        assert_eq!(party.send(), None, "there is no such service yet");
        assert!(tracked().contains(&untranslated("192.0.2.1:4000", "10.96.0.10:53")));

        set_rules("ip daddr 10.96.0.10 udp dport 53 dnat to 10.244.0.1:5353");
        assert_eq!(party.send(), None, "rules alone do not change a flow that is known");
        let dns = service("kube-system/dns", "10.96.0.10").port("", Udp, 53).applied();
        assert_eq!(cluster.happen([dns, pods(ENDPOINTS[0])]), 1);
        assert_eq!(party.send(), Some(0));

        set_rules("ip daddr 10.96.0.10 udp dport 53 dnat to 10.244.0.2:5353");
        assert_eq!(cluster.restart(), 0, "the endpoint of the flow still serves, by what is known");
        assert_eq!(party.send(), Some(0), "so the flow stays with it");
        assert_eq!(cluster.happen([pods(ENDPOINTS[1])]), 1);
        assert_eq!(party.send(), Some(1));
    });
}

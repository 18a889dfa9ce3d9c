//! What is captured on a kernel without rules for ports.

use portolan_core::node::NodeConfig;
use portolan_testkit::netns::{Topology, isolated};

use super::*;
use crate::backend::Options;

#[test]
fn without_port_rules_addresses_of_other_hosts_and_of_the_api_server_are_not_captured() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let objects = net.node().run(|| {
            let relay = Relay::start(Options::default(), Arc::default()).unwrap();
            let captures = Captures::begin(IpFamily::V4).unwrap().without_port_rules();
            let mut listeners = Listeners::new(IpFamily::V4, relay, Some(captures)).unwrap();
            let settings = NodeConfig::new("n1").settings(IpFamily::V4, None, []);
            let api_server = vec!["203.0.113.90:6443".parse().unwrap()];
            listeners.settings = Some(NodeSettings { api_server, ..settings });
            let external = ["192.0.2.2", "203.0.113.80", "203.0.113.90"].map(|ip| ip.parse().unwrap());
            let port = ServicePort {
                cluster_ip: Some("10.96.0.80".parse().unwrap()),
                load_balancer_ips: ["203.0.113.80".parse().unwrap()].into(),
                external_ips: external.into(),
                ..ServicePort::new(80)
            };
            let addresses = listeners.addresses_of(&port, Protocol::Tcp);
            listeners.captures_for(&addresses)
        });
        let captured = ["10.96.0.80", "203.0.113.80", "203.0.113.80"];
        assert_eq!(objects.unwrap(), captured.map(|ip| Object::Address(ip.parse().unwrap())));
    });
}

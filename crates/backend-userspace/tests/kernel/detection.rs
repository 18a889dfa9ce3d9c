//! Pods that are recognized by their interface, which packet filters on sockets cannot look up.

use std::io::ErrorKind;
use std::time::Duration;

use portolan_backend_userspace::Options;
use portolan_core::node::DetectLocal;
use portolan_testkit::netns::{Caller, Topology, isolated};
use portolan_testkit::scenario::{POD_PORT, Scenario, away, pods, web};

use crate::node::{LEAST, Node};

#[test]
fn without_local_endpoints_outsiders_are_reset_and_pods_behind_the_interface_are_served() {
    isolated(|| {
        let net = Topology::routed(2).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let scenario = Scenario::new()
            .configured(|config| config.detect_local = DetectLocal::InterfaceNamePrefix("pod".into()));
        let mut node = Node::with(net, scenario.config, Options::default(), &LEAST);
        node.apply([web().external_local().applied()].into_iter().chain(pods("web", [away(1)])));
        for address in ["203.0.113.80:80", "[2001:db8:113::80]:80", "192.0.2.1:30080"] {
            let address = address.parse().unwrap();
            let stranger = Caller::from(node.net.client());
            assert_eq!(stranger.connect_tcp(address).unwrap_err().kind(), ErrorKind::ConnectionReset);
            let silent = stranger.with_patience(Duration::from_millis(500)).query_udp(address);
            assert_eq!(silent.unwrap_err().kind(), ErrorKind::TimedOut);
            for inside in [Caller::from(&node.net.pod(2).namespace), Caller::from(node.net.node())] {
                assert_eq!(inside.connect_tcp(address).unwrap().pod, "pod1");
                assert_eq!(inside.query_udp(address).unwrap().pod, "pod1");
            }
        }
        // The three connections have no endpoint for their origin.
        assert_eq!(node.counters.tcp_sessions.get(), 0);
    });
}

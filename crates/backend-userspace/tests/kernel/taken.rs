//! Ports and addresses that somebody else has.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use portolan_testkit::netns::{Caller, Topology, isolated, wait_until};
use portolan_testkit::scenario::{POD_PORT, gone, here, pods, service_at, web};

use crate::log::Log;
use crate::node::Node;

const NODE_PORT: &str = "192.0.2.1:30080";
/// A place that failed is tried again every five seconds in the long run.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_port_that_another_program_has_is_named_and_served_once_it_is_free() {
    isolated(|| {
        let log = Log::begin();
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let address: SocketAddr = NODE_PORT.parse().unwrap();
        let holder = net
            .node()
            .run(|| (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap()))
            .unwrap();
        let mut node = Node::new(net);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));

        assert_eq!(node.counters.unserved(), 2);
        let caller = Caller::from(node.net.client()).with_patience(PATIENCE);
        for elsewhere in ["10.96.0.80:80", "10.244.0.1:30080", "[2001:db8:2::1]:30080"] {
            assert_eq!(caller.connect_tcp(elsewhere.parse().unwrap()).unwrap().pod, "pod1");
        }
        for transport in ["tcp", "udp"] {
            let line = format!("shop/web:{transport} cannot be served at {transport} {NODE_PORT}: ");
            wait_until("it is told", PATIENCE, || log.text().contains(&line)).unwrap();
            let log = log.text();
            let told: Vec<_> = log.lines().filter(|text| text.contains(&line)).collect();
            let [told] = told[..] else { panic!("not once: {log}") };
            assert!(told.contains(&format!("(process {}) has that port", std::process::id())), "{told}");
        }

        drop(holder);
        wait_until("the node port is served", PATIENCE, || node.counters.unserved() == 0).unwrap();
        assert_eq!(caller.connect_tcp(address).unwrap().pod, "pod1");
        assert_eq!(caller.query_udp(address).unwrap().pod, "pod1");
        let told = format!("shop/web:tcp is served at tcp {NODE_PORT} now");
        wait_until("that is told", PATIENCE, || log.text().contains(&told)).unwrap();
    });
}

#[test]
fn a_program_at_all_addresses_keeps_us_from_its_port_on_each() {
    isolated(|| {
        let log = Log::begin();
        let net = Topology::routed(1).unwrap();
        let _holder = net.node().run(|| TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
        let mut node = Node::new(net);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
        // Cluster IP, load-balancer address and external IP of IPv4.
        assert_eq!(node.counters.unserved(), 3);
        let told = || log.text().contains("shop/web:tcp cannot be served at tcp 10.96.0.80:80");
        wait_until("it is told", PATIENCE, told).unwrap();
    });
}

/// Both families have the Service, and it is one to whoever reads the log.
#[test]
fn sctp_is_told_once_for_each_service_port() {
    isolated(|| {
        const WORDS: &str = "service port shop/web:sctp is not served: userspace mode has no SCTP";
        let log = Log::begin();
        let mut node = Node::new(Topology::routed(1).unwrap());
        node.apply([web().applied()]);
        node.apply(pods("web", [here(1)]));
        node.compare_all();
        log.assert_said_once("SCTP");
        log.assert_said_once(WORDS);
        assert_eq!(node.counters.unsupported(), 1);

        node.apply([service_at("other", 90).applied()]);
        log.assert_said_once("service port shop/other:sctp is not served: userspace mode has no SCTP");
        assert_eq!((log.count("SCTP"), node.counters.unsupported()), (2, 2));

        // Unnoticed until everything is compared.
        node.state.handle(gone("web"));
        node.compare_all();
        assert_eq!((log.count("SCTP"), node.counters.unsupported()), (2, 1));
        node.apply([web().applied()]);
        assert_eq!((log.count(WORDS), node.counters.unsupported()), (2, 2));
        node.apply([gone("other")]);
        assert_eq!(node.counters.unsupported(), 1);
        node.clean();
        assert_eq!(node.counters.unsupported(), 0);
    });
}

//! Ports and addresses that another program has.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use portolan_testkit::netns::{Caller, Topology, isolated, wait_until};
use portolan_testkit::scenario::{POD_PORT, gone, here, pods, service_at, web};

use crate::log::Log;
use crate::node::Node;

const NODE_PORT: &str = "192.0.2.1:30080";
/// A listen address that failed is retried every five seconds in the long run.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_port_that_another_program_has_is_named_and_served_once_it_is_free() {
    isolated(|| {
        let log = Log::begin();
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let address: SocketAddr = NODE_PORT.parse().unwrap();
        let owner = net
            .node()
            .run(|| (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap()))
            .unwrap();
        let mut node = Node::new(net);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));

        assert_eq!(node.counters.unserved.get(), 2);
        let caller = Caller::from(node.net.client()).with_patience(PATIENCE);
        for elsewhere in ["10.96.0.80:80", "10.244.0.1:30080", "[2001:db8:2::1]:30080"] {
            assert_eq!(caller.connect_tcp(elsewhere.parse().unwrap()).unwrap().pod, "pod1");
        }
        for transport in ["tcp", "udp"] {
            let line = format!("servicePort=shop/web:{transport} address={transport} {NODE_PORT} ");
            wait_until("it is logged", PATIENCE, || log.text().contains(&line)).unwrap();
            let log = log.text();
            let logged: Vec<_> = log.lines().filter(|text| text.contains(&line)).collect();
            let [line] = logged[..] else { panic!("not once: {log}") };
            assert!(line.contains("Failed to listen; retrying"), "{line}");
            assert!(line.contains("port is in use by "), "{line}");
            assert!(line.contains(&format!("(process {})", std::process::id())), "{line}");
        }

        drop(owner);
        wait_until("the node port is served", PATIENCE, || node.counters.unserved.get() == 0).unwrap();
        assert_eq!(caller.connect_tcp(address).unwrap().pod, "pod1");
        assert_eq!(caller.query_udp(address).unwrap().pod, "pod1");
        let line =
            format!("Listening after earlier failures servicePort=shop/web:tcp address=tcp {NODE_PORT}");
        wait_until("that is logged", PATIENCE, || log.text().contains(&line)).unwrap();
    });
}

#[test]
fn a_program_that_listens_at_all_addresses_blocks_its_port_on_each() {
    isolated(|| {
        let log = Log::begin();
        let net = Topology::routed(1).unwrap();
        let _owner = net.node().run(|| TcpListener::bind("0.0.0.0:80").unwrap()).unwrap();
        let mut node = Node::new(net);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
        // Cluster IP, load-balancer address and external IP of IPv4.
        assert_eq!(node.counters.unserved.get(), 3);
        let is_logged = || {
            log.text()
                .contains("Failed to listen; retrying servicePort=shop/web:tcp address=tcp 10.96.0.80:80")
        };
        wait_until("it is logged", PATIENCE, is_logged).unwrap();
    });
}

/// Both IP families have the Service, and the log names it once.
#[test]
fn sctp_is_logged_once_for_each_service_port() {
    isolated(|| {
        const WORDS: &str =
            "Service port is not served: userspace mode does not support SCTP servicePort=shop/web:sctp";
        let log = Log::begin();
        let mut node = Node::new(Topology::routed(1).unwrap());
        node.apply([web().applied()]);
        node.apply(pods("web", [here(1)]));
        node.compare_all();
        log.assert_said_once("SCTP");
        log.assert_said_once(WORDS);
        assert_eq!(node.counters.unsupported.get(), 1);

        node.apply([service_at("other", 90).applied()]);
        log.assert_said_once("servicePort=shop/other:sctp");
        assert_eq!((log.count("SCTP"), node.counters.unsupported.get()), (2, 2));

        // Unnoticed until everything is compared.
        node.state.handle(gone("web"));
        node.compare_all();
        assert_eq!((log.count("SCTP"), node.counters.unsupported.get()), (2, 1));
        node.apply([web().applied()]);
        assert_eq!((log.count(WORDS), node.counters.unsupported.get()), (2, 2));
        node.apply([gone("other")]);
        assert_eq!(node.counters.unsupported.get(), 1);
        node.clean();
        assert_eq!(node.counters.unsupported.get(), 0);
    });
}

//! More listen addresses than file descriptors: some are served, the others are named, and what becomes free is used.

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use portolan_core::Protocol;
use portolan_core::event::Event;
use portolan_testkit::netns::{Caller, Topology, isolated, wait_until};
use portolan_testkit::objects::service;
use portolan_testkit::scenario::{POD_PORT, gone, here, pods_on};

use crate::log::Log;
use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(60);
const SERVICES: u16 = 300;

/// The cluster IP of one of the Services, and its node port.
fn places(number: u16) -> [SocketAddr; 2] {
    let vip = [10, 96, 1 + u8::try_from(number / 200).unwrap(), u8::try_from(number % 200).unwrap()];
    [(vip, 80).into(), ([192, 0, 2, 1], 30_000 + number).into()]
}

/// A NodePort Service with an endpoint on this node.
fn node_port_service(number: u16) -> impl Iterator<Item = Event> {
    let [vip, node_port] = places(number);
    let name = format!("s{number}");
    let web = service(&format!("shop/{name}"), &vip.ip().to_string());
    let web = web.port("tcp", Protocol::Tcp, 80).node_port(node_port.port());
    let slices = pods_on(&name, "pods", &[("tcp", Protocol::Tcp, POD_PORT)], [here(1)]);
    [web.applied()].into_iter().chain(slices)
}

/// The case: 300 Services of type NodePort in a process that may have 1,024 files open. Each takes a listener at
/// its cluster IP and one at each of the node's addresses.
#[test]
fn listeners_leave_descriptors_to_sessions_and_to_the_proxy_and_use_those_that_are_freed() {
    isolated(|| {
        let log = Log::begin();
        setrlimit(Resource::RLIMIT_NOFILE, 1024, 1024).unwrap();
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let mut node = Node::new(net);
        node.apply((0..SERVICES).flat_map(node_port_service));

        // Half of nine tenths are the listeners'.
        wait_until("listeners are open", PATIENCE, || node.counters.listeners.get() == 459).unwrap();
        let wanted = node.counters.listeners.get() + node.counters.unserved.get();
        assert!(wanted >= 2 * usize::from(SERVICES), "{wanted}");
        let is_logged = || log.count("is reached") > 0;
        wait_until("it is logged", PATIENCE, is_logged).unwrap();
        let line = log.text().lines().find(|line| line.contains("is reached")).unwrap().to_owned();
        assert!(
            line.contains("shop/s")
                && line.contains("open files of this process (RLIMIT_NOFILE: LimitNOFILE="),
            "{line}"
        );

        // The proxy itself still opens what it needs, and clients are served.
        let own: Vec<_> = (0..64).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        let caller = Caller::from(node.net.client()).with_patience(PATIENCE);
        let is_served = |number: &u16| places(*number).iter().any(|place| caller.connect_tcp(*place).is_ok());
        assert!((0..SERVICES).any(|number| is_served(&number)));
        drop(own);

        // What others give up is used by those that wait.
        let rest: Vec<u16> = (SERVICES - 20..SERVICES).collect();
        node.apply((0..SERVICES - 20).map(|number| gone(&format!("s{number}"))));
        wait_until("all are served", PATIENCE, || node.counters.unserved.get() == 0).unwrap();
        for number in &rest {
            for place in places(*number) {
                assert_eq!(caller.connect_tcp(place).unwrap().pod, "pod1");
            }
        }
        node.assert_sound();
    });
}

#[test]
fn a_limit_that_is_raised_is_used_without_a_restart() {
    isolated(|| {
        let limit = |soft| setrlimit(Resource::RLIMIT_NOFILE, soft, 4096).unwrap();
        limit(4096);
        let mut node = Node::new(Topology::routed(1).unwrap());
        // As an administrator does from outside, by prlimit(1).
        limit(300);
        node.apply((0..100).flat_map(node_port_service));
        assert!(node.counters.unserved.get() > 0);
        limit(4096);
        wait_until("all are served", PATIENCE, || node.counters.unserved.get() == 0).unwrap();
    });
}

/// One Service may have more listen addresses than there are descriptors.
#[test]
fn a_service_with_many_ports_leaves_listeners_to_others() {
    isolated(|| {
        setrlimit(Resource::RLIMIT_NOFILE, 1024, 1024).unwrap();
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let mut node = Node::new(net);
        let greedy = (0..600).fold(service("shop/greedy", "10.96.0.70"), |service, number| {
            service.port(&format!("p{number}"), Protocol::Tcp, 1000 + number)
        });
        let ports: Vec<_> = (0..600).map(|number| format!("p{number}")).collect();
        let ports: Vec<_> = ports.iter().map(|name| (name.as_str(), Protocol::Tcp, POD_PORT)).collect();
        node.apply([greedy.applied()].into_iter().chain(pods_on("greedy", "pods", &ports, [here(1)])));
        // Three of four.
        wait_until("listeners are open", PATIENCE, || node.counters.listeners.get() == 345).unwrap();
        node.apply(node_port_service(1));
        for place in places(1) {
            let answer = Caller::from(node.net.client()).with_patience(PATIENCE).connect_tcp(place);
            assert_eq!(answer.unwrap().pod, "pod1");
        }
    });
}

//! What a change does to connections: nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_core::event::Event;
use portolan_testkit::conformance::Node;
use portolan_testkit::netns::{Caller, EchoServer, LongConnection, Topology, isolated, wait_until};
use portolan_testkit::objects::service;
use portolan_testkit::scenario::{POD_PORT, Scenario, away, here, pods, web};

use crate::candidate::{Haproxy, start};

const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster {
    net: Topology,
    node: Node<Haproxy>,
    _servers: Vec<EchoServer>,
}

fn cluster() -> Cluster {
    let net = Topology::routed(3).unwrap();
    let servers = net.serve(&[POD_PORT]).unwrap();
    let mut node = Node::new("node", net.node(), start, Scenario::new().config);
    node.apply([web().applied()].into_iter().chain(pods("web", [here(1), here(2)])));
    Cluster { net, node, _servers: servers }
}

fn vip() -> SocketAddr {
    "10.96.0.80:80".parse().unwrap()
}

/// A Service of one port, which takes a reload to come and to go.
fn another() -> Event {
    service("shop/another", "10.96.0.81").port("tcp", portolan_core::Protocol::Tcp, 80).applied()
}

/// Which worker is running, by its process.
fn workers(node: &Node<Haproxy>) -> Vec<String> {
    let printed = node
        .namespace()
        .run_program(&portolan_testkit::netns::Program::new("pgrep").args(["-f", "haproxy.*IPv4"]));
    printed.unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn connections_go_through_while_it_reloads_and_none_is_lost() {
    isolated(|| {
        let mut cluster = cluster();
        let caller = Caller::from(cluster.net.client());
        let lasting = LongConnection::open(&caller, vip()).unwrap();
        let before = workers(&cluster.node);
        let done = AtomicBool::new(false);
        let asked = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut asked = 0;
                while !done.load(Ordering::Relaxed) {
                    caller.connect_tcp(vip()).unwrap();
                    asked += 1;
                }
                asked
            });
            for _ in 0..6 {
                cluster.node.apply([another()].into_iter().chain(pods("another", [here(3)])));
                let name = portolan_testkit::objects::object_name("shop/another");
                let gone = Event::Service(portolan_core::event::Change::Deleted(name));
                cluster.node.apply([gone]);
            }
            done.store(true, Ordering::Relaxed);
            asking.join().unwrap()
        });
        assert_ne!(workers(&cluster.node), before, "it did not reload");
        assert!(asked > 100, "only {asked} connections");
        lasting.wait_for_lines(5, PATIENCE).unwrap();
        assert!(!lasting.is_broken());
    });
}

#[test]
fn endpoints_come_and_go_without_a_reload_and_keep_their_connections() {
    isolated(|| {
        let mut cluster = cluster();
        let caller = Caller::from(cluster.net.client());
        let lasting = LongConnection::open(&caller, vip()).unwrap();
        let first = lasting.answer().pod.clone();
        let before = workers(&cluster.node);
        cluster.node.apply(pods("web", [away(3)]));
        assert_eq!(workers(&cluster.node), before, "it did reload");
        for _ in 0..10 {
            assert_eq!(caller.connect_tcp(vip()).unwrap().pod, "pod3");
        }
        lasting.wait_for_lines(5, PATIENCE).unwrap();
        assert!(!lasting.is_broken(), "{first} went and took its connection along");

        // The server goes with its last connection.
        let report = cluster.node.try_apply(IpFamily::V4).unwrap();
        assert!(report.follow_up.is_some());
        drop(lasting.close());
        wait_until("it is deleted", PATIENCE, || {
            cluster.node.try_apply(IpFamily::V4).unwrap().follow_up.is_none()
        })
        .unwrap();
    });
}

#[test]
fn a_restart_takes_over_what_runs() {
    isolated(|| {
        let mut cluster = cluster();
        let lasting = LongConnection::open(&Caller::from(cluster.net.client()), vip()).unwrap();
        let before = workers(&cluster.node);
        cluster.node.restart();
        assert_eq!(cluster.node.apply([]), 0);
        assert_eq!(workers(&cluster.node), before);
        lasting.wait_for_lines(5, PATIENCE).unwrap();
    });
}

#[test]
fn a_haproxy_that_was_killed_is_missed_and_started_again() {
    isolated(|| {
        let mut cluster = cluster();
        let kill = portolan_testkit::netns::Program::new("kill").args(["-KILL"]).args(workers(&cluster.node));
        cluster.net.node().run_program(&kill).unwrap();
        wait_until("it is missed", PATIENCE, || !cluster.node.is_intact(IpFamily::V4)).unwrap();
        cluster.node.end_sync_period();
        assert!(Caller::from(cluster.net.client()).connect_tcp(vip()).is_ok());
    });
}

#[test]
fn a_port_that_another_program_has_is_an_error_that_names_it() {
    isolated(|| {
        let mut cluster = cluster();
        let address: SocketAddr = "192.0.2.1:30999".parse().unwrap();
        let holder = cluster.net.node().run(|| std::net::TcpListener::bind(address).unwrap()).unwrap();
        let taken = service("shop/taken", "10.96.0.82")
            .port("tcp", portolan_core::Protocol::Tcp, 80)
            .node_port(30999);
        cluster.node.handle([taken.applied()]);
        cluster.node.handle(pods("taken", [here(3)]));
        let error = cluster.node.try_apply(IpFamily::V4).unwrap_err();
        let text = portolan_core::backend::error_chain(&error);
        assert!(text.contains("shop.taken.tcp") && text.contains("192.0.2.1:30999"), "{text}");
        // What was served before is served still.
        let caller = Caller::from(cluster.net.client());
        assert!(caller.connect_tcp(vip()).is_ok());
        drop(holder);
        cluster.node.compare_all();
        assert_eq!(caller.connect_tcp(address).unwrap().pod, "pod3");
    });
}

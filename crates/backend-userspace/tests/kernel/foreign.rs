//! Services that name the address of another host, which keeps all ports but those of Services.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::Protocol;
use portolan_core::event::Event;
use portolan_testkit::netns::{Caller, EchoServer, LongConnection, Topology, isolated, wait_until};
use portolan_testkit::objects::{ServiceBuilder, service};
use portolan_testkit::scenario::{POD_PORT, gone, here, pods};

use crate::held::port;
use crate::log::Log;
use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(60);
/// The client, a host of the node's own network.
const HOST: [&str; 2] = ["192.0.2.2", "[2001:db8:2::2]"];

/// A Service whose external IPs are the other host's.
fn taking(name: &str, number: u8, ports: &[u16]) -> ServiceBuilder {
    let bare = service(&format!("shop/{name}"), &format!("10.96.0.{number},fd00:10:96::{number}"));
    let ported = ports.iter().fold(bare, |service, port| {
        let with = |service: ServiceBuilder, protocol: Protocol| {
            let is_first = *port == ports[0];
            let name = if is_first { protocol.to_string() } else { format!("{protocol}-{port}") };
            service.port(&name, protocol, *port)
        };
        with(with(service, Protocol::Tcp), Protocol::Udp)
    });
    HOST.iter().fold(ported, |service, host| service.external_ip(host.trim_matches(['[', ']'])))
}

/// A node, one pod, and another host that serves port 80, as Services will, and 8080.
fn network() -> (Node, Vec<EchoServer>) {
    let net = Topology::routed(1).unwrap();
    let mut servers = net.serve(&[POD_PORT]).unwrap();
    servers.push(EchoServer::start(net.client(), "host", &[80, 8080]).unwrap());
    (Node::new(net), servers)
}

fn at(host: &str, port: u16) -> SocketAddr {
    format!("{host}:{port}").parse().unwrap()
}

/// This server answers a program on the node, and a pod, whose packets the node forwards; by both protocols.
#[track_caller]
fn assert_answers(node: &Node, to: SocketAddr, name: &str) {
    for from in [node.net.node(), &node.net.pod(1).namespace] {
        let caller = Caller::from(from).with_patience(PATIENCE);
        let (stream, datagram) = (caller.connect_tcp(to).unwrap(), caller.query_udp(to).unwrap());
        assert_eq!((&*stream.pod, &*datagram.pod), (name, name), "{to} from {}", from.name());
    }
}

fn events(service: ServiceBuilder, name: &str) -> Vec<Event> {
    [service.applied()].into_iter().chain(pods(name, [here(1)])).collect()
}

#[test]
fn another_hosts_address_is_captured_only_by_the_ports_of_services() {
    isolated(|| {
        let (mut node, _servers) = network();
        for host in HOST {
            assert_answers(&node, at(host, 80), "host");
        }
        node.apply(events(taking("web", 80, &[80]), "web"));
        for host in HOST {
            assert_answers(&node, at(host, 80), "pod1");
            assert_answers(&node, at(host, 8080), "host");
            // The host itself refuses its other ports.
            let refused = Caller::from(node.net.node()).connect_tcp(at(host, 81)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                assert!(node.ours().contains(&port(protocol, &at(host, 80).to_string())));
            }
        }
        node.assert_sound();
        node.apply([gone("web")]);
        for host in HOST {
            assert_answers(&node, at(host, 80), "host");
        }
        node.assert_sound();
    });
}

/// A status that lists the nodes themselves, as the load balancer of K3s writes it: this one and others.
#[test]
fn load_balancer_addresses_may_be_those_of_nodes() {
    isolated(|| {
        let (mut node, _servers) = network();
        let own = ["192.0.2.1", "2001:db8:2::1"];
        let all = own.into_iter().chain(HOST);
        let bare = service("shop/web", "10.96.0.80,fd00:10:96::80");
        let ported = bare.port("tcp", Protocol::Tcp, 80).port("udp", Protocol::Udp, 80);
        let web = all.fold(ported, |service, ip| service.load_balancer_ip(ip.trim_matches(['[', ']'])));
        node.apply(events(web, "web"));
        for host in HOST {
            assert_answers(&node, at(host, 80), "pod1");
            assert_answers(&node, at(host, 8080), "host");
        }
        for own in ["192.0.2.1", "[2001:db8:2::1]"] {
            assert_answers(&node, at(own, 80), "pod1");
        }
        node.assert_sound();
    });
}

#[test]
fn a_port_without_endpoints_is_refused_at_once_and_leads_nowhere_else() {
    isolated(|| {
        let (mut node, _servers) = network();
        node.apply([taking("web", 80, &[80]).applied()]);
        for host in HOST {
            for from in [node.net.node(), &node.net.pod(1).namespace] {
                let caller = Caller::from(from).with_patience(PATIENCE);
                for failure in [caller.connect_tcp(at(host, 80)), caller.query_udp(at(host, 80))] {
                    let kind = failure.unwrap_err().kind();
                    assert_ne!(kind, ErrorKind::TimedOut, "{host} from {}", from.name());
                }
            }
        }
        node.apply(pods("web", [here(1)]));
        for host in HOST {
            assert_answers(&node, at(host, 80), "pod1");
        }
        node.assert_sound();
    });
}

#[test]
fn connections_outlive_the_service_and_new_ones_go_to_the_host_after_them() {
    isolated(|| {
        let (mut node, _servers) = network();
        node.apply(events(taking("web", 80, &[80]), "web"));
        let caller = Caller::from(&node.net.pod(1).namespace);
        let long = LongConnection::open(&caller, at(HOST[0], 80)).unwrap();
        node.apply([gone("web")]);
        long.wait_for_lines(5, PATIENCE).unwrap();
        assert_eq!(node.ours(), [port(Protocol::Tcp, "192.0.2.2:80")].into());
        assert_eq!(long.close().broken, None);
        wait_until("the port is given back", PATIENCE, || node.is_empty()).unwrap();
        assert_answers(&node, at(HOST[0], 80), "host");
    });
}

/// The kernel removes a route together with the address that it names as the source.
#[test]
fn when_the_nodes_address_changes_programs_on_it_are_served_by_the_new_one() {
    isolated(|| {
        let (mut node, _servers) = network();
        node.apply(events(taking("web", 80, &[80]), "web"));
        node.net.node().ip("addr add 192.0.2.77/24 dev client").unwrap();
        node.net.node().ip("addr del 192.0.2.1/24 dev client").unwrap();
        // Without promote_secondaries the new address goes with the old one.
        let _ = node.net.node().ip("addr add 192.0.2.77/24 dev client");
        let caller = Caller::from(node.net.node()).with_patience(PATIENCE);
        let reaches = || {
            let answer = caller.connect_tcp(at(HOST[0], 80));
            answer.is_ok_and(|answer| answer.pod == "pod1")
        };
        wait_until("the service is reached", PATIENCE, reaches).unwrap();
        assert_eq!(node.ours(), node.planned());
    });
}

/// A version that took whole addresses was ended, and the API server's is among them.
#[test]
fn whole_addresses_captured_by_an_earlier_version_are_released_before_the_first_list() {
    isolated(|| {
        let (mut node, _servers) = network();
        node.stop();
        for words in [
            "-4 route add local 192.0.2.2 dev lo proto 80 metric 8080",
            "-6 route add local 2001:db8:2::2 dev lo proto 80 metric 8080",
        ] {
            node.net.node().ip(words).unwrap();
        }
        let refused = Caller::from(node.net.node()).connect_tcp(at(HOST[0], 8080)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let node = node.restart();
        for host in HOST {
            assert_answers(&node, at(host, 8080), "host");
        }
        assert!(node.ours().is_empty());
    });
}

/// The kernel asks every rule for each packet, so there is an end of them, and no Service has all.
#[test]
fn a_service_with_thousands_of_ports_leaves_rules_to_others_and_is_logged() {
    isolated(|| {
        let log = Log::begin();
        let (mut node, _servers) = network();
        let many: Vec<u16> = (1000..1400).collect();
        node.apply([taking("greedy", 70, &many).applied()]);
        node.apply(pods("greedy", [here(1)]));
        node.apply(events(taking("web", 80, &[80]), "web"));
        for host in HOST {
            assert_answers(&node, at(host, 80), "pod1");
        }
        let rules = |option| node.net.node().ip(&format!("{option} rule show")).unwrap();
        for option in ["-4", "-6"] {
            let ours = rules(option).lines().filter(|line| line.ends_with(" proto 80")).count();
            // Three of four, and the two of the other Service.
            assert_eq!(ours, 192 + 2, "{option}");
        }
        assert!(node.counters.unserved.get() > 0);
        let is_logged = || {
            log.text().contains("shop/greedy")
                && log.text().contains("too many ports of external and load-balancer addresses")
        };
        wait_until("it is logged", PATIENCE, is_logged).unwrap();
        node.apply([gone("greedy")]);
        wait_until("all is served", PATIENCE, || node.counters.unserved.get() == 0).unwrap();
        node.assert_sound();
    });
}

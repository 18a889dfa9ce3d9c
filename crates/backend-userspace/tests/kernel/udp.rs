//! Datagrams and the sessions they make.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use portolan_backend_userspace::Options;
use portolan_core::Protocol;
use portolan_testkit::netns::{Caller, EchoServer, Topology, isolated, wait_until};
use portolan_testkit::objects::slice;
use portolan_testkit::scenario::{POD_PORT, Scenario, here, pods, web};

use crate::node::{LEAST, Node};

const VIP: &str = "10.96.0.80:80";
const PATIENCE: Duration = Duration::from_secs(60);

/// A client's socket, connected as resolvers do, so that answers from another address do not count.
fn client(node: &Node, to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().unwrap();
    node.net
        .client()
        .run(|| {
            let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            socket
        })
        .unwrap()
}

fn ask(socket: &UdpSocket) -> String {
    asked(socket).unwrap()
}

/// The pod that answers, if one does: an answer that is under way when its endpoint goes is lost.
fn asked(socket: &UdpSocket) -> Option<String> {
    socket.send(b"who?").unwrap();
    let mut buffer = [0; 128];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).split(' ').next()?.to_owned())
}

fn serving(options: Options) -> (Node, Vec<EchoServer>) {
    let net = Topology::routed(2).unwrap();
    let servers = net.serve(&[POD_PORT]).unwrap();
    let mut node = Node::with(net, Scenario::new().config, options, &LEAST);
    node.apply([web().applied()].into_iter().chain(pods("web", [here(1), here(2)])));
    (node, servers)
}

#[test]
fn a_client_keeps_its_endpoint_until_that_goes_and_then_gets_another() {
    isolated(|| {
        let (mut node, _servers) = serving(Options::default());
        for vip in [VIP, "[fd00:10:96::80]:80", "192.0.2.1:30080"] {
            node.apply(pods("web", [here(1), here(2)]));
            let socket = client(&node, vip);
            let first = ask(&socket);
            for _ in 0..10 {
                assert_eq!(ask(&socket), first);
            }
            let (rest, other) = if first == "pod1" { (here(2), "pod2") } else { (here(1), "pod1") };
            let before = node.counters.accepted.get();
            node.apply(pods("web", [rest]));
            wait_until("the flow leads elsewhere", PATIENCE, || asked(&socket).as_deref() == Some(other))
                .unwrap();
            assert_eq!(node.counters.accepted.get(), before + 1);
        }
    });
}

#[test]
fn a_flow_stays_with_a_terminating_endpoint_and_new_ones_go_elsewhere() {
    isolated(|| {
        let (mut node, _servers) = serving(Options::default());
        let socket = client(&node, VIP);
        let first = ask(&socket);
        let (ending, other) = if first == "pod1" { (1, 2) } else { (2, 1) };
        node.apply(pods("web", [here(ending).terminating(), here(other)]));
        for _ in 0..5 {
            assert_eq!(ask(&socket), first);
            assert_eq!(ask(&client(&node, VIP)), format!("pod{other}"));
        }
        node.apply(pods("web", [here(other)]));
        let other = format!("pod{other}");
        let leads_elsewhere = || asked(&socket).as_ref() == Some(&other);
        wait_until("the flow leads elsewhere", PATIENCE, leads_elsewhere).unwrap();
    });
}

#[test]
fn a_flow_whose_endpoint_stopped_listening_continues_with_another() {
    isolated(|| {
        let (node, mut servers) = serving(Options::default());
        let socket = client(&node, VIP);
        let (dead, alive) = if ask(&socket) == "pod1" { (0, "pod2") } else { (1, "pod1") };
        drop(servers.remove(dead));
        // The first one is answered by an ICMP message to the relay.
        socket.send(b"lost").unwrap();
        wait_until("the refusal has arrived", PATIENCE, || {
            socket.send(b"who?").unwrap();
            let mut buffer = [0; 128];
            let answered = socket.recv(&mut buffer).is_ok();
            answered && buffer.starts_with(alive.as_bytes())
        })
        .unwrap();
    });
}

#[test]
fn idle_sessions_end_and_those_with_a_single_datagram_sooner() {
    isolated(|| {
        let options = Options {
            udp_timeout: Duration::from_secs(4),
            udp_single_timeout: Duration::from_secs(1),
            ..Options::default()
        };
        let (node, _servers) = serving(options);
        let (once, twice) = (client(&node, VIP), client(&node, VIP));
        ask(&once);
        ask(&twice);
        ask(&twice);
        assert_eq!(node.counters.udp_sessions.get(), 2);
        let sessions = |count| move |node: &Node| node.counters.udp_sessions.get() == count;
        wait_until("the single question is forgotten", PATIENCE, || sessions(1)(&node)).unwrap();
        wait_until("the other too", 2 * PATIENCE, || sessions(0)(&node)).unwrap();
        ask(&once);
    });
}

/// An echo that sends back what it gets, whatever its size.
#[test]
fn datagrams_of_all_sizes_arrive_whole_and_many_at_once() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let pod = net.pod(1).namespace.clone();
        let echo = pod.run(|| UdpSocket::bind(("::", POD_PORT)).unwrap()).unwrap();
        let _echo = pod
            .spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok((length, peer)) = echo.recv_from(&mut buffer) {
                    echo.send_to(&buffer[..length], peer).unwrap();
                }
            })
            .unwrap();
        let mut node = Node::new(net);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
        for vip in [VIP, "[fd00:10:96::80]:80"] {
            let socket = client(&node, vip);
            let mut buffer = vec![0; 1 << 16];
            for size in [0, 1, 512, 1472, 9000, 32_000, 65_507] {
                let sent: Vec<u8> = (0..=250).cycle().take(size).collect();
                socket.send(&sent).unwrap();
                let length = socket.recv(&mut buffer).unwrap();
                assert!(buffer[..length] == sent, "{size} bytes came back as {length}");
            }
            for number in 0..200_u32 {
                socket.send(&number.to_be_bytes()).unwrap();
            }
            let mut back: Vec<u32> = (0..200)
                .map(|_| {
                    let length = socket.recv(&mut buffer).unwrap();
                    u32::from_be_bytes(buffer[..length].try_into().unwrap())
                })
                .collect();
            back.sort_unstable();
            assert_eq!(back, (0..200).collect::<Vec<_>>());
        }
        assert_eq!(
            Caller::from(node.net.client()).connect_tcp(VIP.parse().unwrap()).unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
    });
}

#[test]
fn an_answer_from_another_address_than_was_asked_is_not_passed_on() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let pod = net.pod(1).namespace.clone();
        let (asked, other) = pod
            .run(|| (UdpSocket::bind(("::", POD_PORT)).unwrap(), UdpSocket::bind("[::]:0").unwrap()))
            .unwrap();
        let _server = pod
            .spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((length, peer)) = asked.recv_from(&mut buffer) {
                    let answering = if buffer[..length] == *b"other" { &other } else { &asked };
                    answering.send_to(&buffer[..length], peer).unwrap();
                }
            })
            .unwrap();
        let mut node = Node::new(net);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
        let socket = client(&node, VIP);
        socket.send(b"other").unwrap();
        socket.send(b"asked").unwrap();
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer).unwrap();
        assert_eq!(answer[..length], *b"asked", "the session goes on");
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert_eq!(socket.recv(&mut answer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(node.counters.accepted.get(), 1);
    });
}

/// Slices that are written by hand may name any address. To send to this one takes a socket option.
#[test]
fn a_client_goes_to_the_next_endpoint_where_there_is_no_route_to_one() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let mut node = Node::new(net);
        let pod = node.net.pod(1).ipv4.to_string();
        let by_hand = slice("shop/by-hand", "web").port("udp", Protocol::Udp, POD_PORT);
        let by_hand = by_hand.on("node1", "255.255.255.255").on("node1", &pod);
        node.apply([web().applied(), by_hand.applied()]);
        for _ in 0..10 {
            assert_eq!(ask(&client(&node, VIP)), "pod1");
        }
        assert_eq!((node.counters.accepted.get(), node.counters.failed.get()), (10, 0));
    });
}

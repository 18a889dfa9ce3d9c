//! Relays decrement the TTL, as routers do, so that loops end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use portolan_testkit::netns::{EchoServer, Topology, isolated, wait_until};
use portolan_testkit::scenario::{POD_PORT, here, pods, web};
use socket2::{Domain, SockRef, Socket, Type};

use crate::node::Node;

const VIPS: [&str; 2] = ["10.96.0.80:80", "[fd00:10:96::80]:80"];
const PATIENCE: Duration = Duration::from_secs(60);

fn serving() -> Node {
    let mut node = Node::new(Topology::routed(1).unwrap());
    node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
    node
}

fn limit(socket: &SockRef<'_>, to: SocketAddr, hops: u32) {
    if to.is_ipv4() { socket.set_ttl_v4(hops) } else { socket.set_unicast_hops_v6(hops) }.unwrap();
}

fn connect(node: &Node, to: SocketAddr, hops: u32) -> TcpStream {
    let connect = || {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        limit(&SockRef::from(&socket), to, hops);
        socket.connect(&to.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        TcpStream::from(socket)
    };
    node.net.client().run(connect).unwrap()
}

#[test]
fn the_relay_decrements_the_ttl_of_a_connection_and_resets_it_at_its_last_hop() {
    isolated(|| {
        let node = serving();
        let pod = node.net.pod(1).namespace.clone();
        let listener = pod.run(|| TcpListener::bind(("::", POD_PORT)).unwrap()).unwrap();
        for vip in VIPS.map(|vip| vip.parse::<SocketAddr>().unwrap()) {
            let mut client = connect(&node, vip, 20);
            let (mut accepted, _) = listener.accept().unwrap();
            let socket = SockRef::from(&accepted);
            let hops = if vip.is_ipv4() { socket.multicast_ttl_v4() } else { socket.multicast_hops_v6() };
            assert_eq!(hops.unwrap(), 19, "{vip}");
            accepted.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();

            let mut last = connect(&node, vip, 1);
            assert_eq!(last.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        wait_until("they are counted", PATIENCE, || node.counters.failed.get() == 2).unwrap();
    });
}

#[test]
fn a_datagram_is_not_relayed_at_its_last_hop() {
    isolated(|| {
        let node = serving();
        let _server = EchoServer::start(&node.net.pod(1).namespace, "pod1", &[POD_PORT]).unwrap();
        for vip in VIPS.map(|vip| vip.parse::<SocketAddr>().unwrap()) {
            let ask = |hops, patience| {
                let ask = || {
                    let socket = UdpSocket::bind(if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
                    limit(&SockRef::from(&socket), vip, hops);
                    socket.connect(vip).unwrap();
                    socket.set_read_timeout(Some(patience)).unwrap();
                    socket.send(b"who?").unwrap();
                    socket.recv(&mut [0; 64]).map_err(|error| error.kind())
                };
                node.net.client().run(ask).unwrap()
            };
            assert!(ask(2, PATIENCE).is_ok(), "{vip}");
            assert_eq!(ask(1, Duration::from_millis(500)).unwrap_err(), ErrorKind::WouldBlock, "{vip}");
            assert!(ask(64, PATIENCE).is_ok(), "{vip}");
        }
        assert_eq!((node.counters.accepted.get(), node.counters.failed.get()), (6, 2));
    });
}

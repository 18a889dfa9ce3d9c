//! What IPVS cannot distinguish, which no proxy has in hand: see decision 22.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use portolan_core::Protocol;
use portolan_core::event::Event;
use portolan_testkit::netns::{CLIENT_V4, Caller, EchoServer, Namespace, Program, isolated};
use portolan_testkit::objects::{service, slice};
use socket2::{Domain, Socket, Type};

use crate::graceful::{Connection, VIP, Web};

/// Another Service with the same endpoints.
const OTHER_VIP: &str = "10.96.0.81:80";
const PORT: u16 = 20_000;

/// Connects from one port, which other connections may have as well.
fn connect_from(port: u16, to: &str) -> impl Fn() -> std::net::TcpStream {
    let to: SocketAddr = to.parse().unwrap();
    move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).unwrap();
        socket.connect_timeout(&to.into(), Duration::from_secs(5)).unwrap();
        socket.into()
    }
}

impl Web {
    fn connect_from(&self, port: u16, to: &str, pod: usize) -> Connection {
        Connection::open_by(self.net.client(), &self.net.pod(pod).namespace, connect_from(port, to))
    }
}

/// Replies are found by the client and the endpoint, and there is one answer: the connection that came last.
#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn a_port_of_a_client_has_one_connection_to_an_endpoint_whatever_addresses_it_goes_by() {
    isolated(|| {
        let mut web = Web::new();
        web.serve_by(&[1]);
        let address = web.net.pod(1).ipv4.to_string();
        web.node.apply([
            service("shop/web2", "10.96.0.81").port("http", Protocol::Tcp, 80).applied(),
            slice("shop/web2-4", "web2").port("http", Protocol::Tcp, 8080).on("node1", &address).applied(),
        ]);
        let mut first = web.connect_from(PORT, VIP, 1);
        first.assert_alive();
        let mut second = web.connect_from(PORT, OTHER_VIP, 1);
        second.assert_alive();
        assert!(!first.is_alive());
        // From another port it is another connection.
        web.connect_from(PORT + 1, OTHER_VIP, 1).assert_alive();
        second.assert_alive();
    });
}

/// Rules that translate like those of another mode, here to another pod.
fn translate(node: &Namespace) {
    let rules = "add table ip other
        add chain ip other prerouting { type nat hook prerouting priority dstnat; }
        add chain ip other postrouting { type nat hook postrouting priority srcnat; }
        add rule ip other prerouting ip daddr 10.96.0.80 tcp dport 80 dnat to 10.244.0.12:8080
        add rule ip other postrouting ip daddr 10.244.0.12 masquerade fully-random";
    node.run_program(&Program::new("nft").args(["-f", "-"]).input(rules)).unwrap();
}

/// When IPVS forgets a connection it has connection tracking forget the one between the same ends, whosever it is. Had
/// the rules chosen the same pod, replies would keep IPVS from forgetting.
#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn a_connection_by_other_rules_ends_when_the_one_that_ipvs_had_between_the_same_ends_is_forgotten() {
    isolated(|| {
        let mut web = Web::new();
        web.serve_by(&[1]);
        web.connect_from(PORT, VIP, 1).reset();
        translate(web.net.node());
        let (mut same, mut other) = (web.connect_from(PORT, VIP, 2), web.connect_from(PORT + 1, VIP, 2));
        same.assert_alive();
        // Ten seconds after the reset.
        sleep(Duration::from_secs(12));
        other.assert_alive();
        assert!(!same.is_alive());
    });
}

/// Of another host all ports are this node's once its address is bound; the API server's is not.
#[test]
#[ignore = "needs IPVS: run by tests/vm"]
fn the_api_server_keeps_its_ports_where_a_service_names_its_address() {
    isolated(|| {
        let mut web = Web::new();
        let _server = EchoServer::start(web.net.client(), "api", &[6443]).unwrap();
        let server: SocketAddr = (CLIENT_V4, 6443).into();
        let reached = |web: &Web| {
            let callers = [web.net.node(), &web.net.pod(1).namespace].map(Caller::from);
            callers.map(|caller| caller.connect_tcp(server).is_ok())
        };
        let tenant = service("shop/tenant", "10.96.0.90").port("http", Protocol::Tcp, 80);
        web.node.apply([tenant.external_ip(&CLIENT_V4.to_string()).applied()]);
        assert_eq!(reached(&web), [false, false], "as with kube-proxy");
        web.node.apply([Event::ApiServer([server].into())]);
        assert_eq!(reached(&web), [true, true]);
    });
}

//! Too many at once.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use portolan_backend_userspace::Options;
use portolan_testkit::netns::{Caller, Topology, isolated, wait_until};
use portolan_testkit::scenario::{POD_PORT, Scenario, here, pods, service_at, web};
use socket2::{Domain, Socket, Type};

use crate::node::{LEAST, Node};

const VIP: &str = "10.96.0.80:80";
const PATIENCE: Duration = Duration::from_secs(5);

fn limited(options: Options) -> (Node, Vec<portolan_testkit::netns::EchoServer>) {
    let net = Topology::routed(1).unwrap();
    let servers = net.serve(&[POD_PORT]).unwrap();
    let mut node = Node::with(net, Scenario::new().config, options, &LEAST);
    node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
    (node, servers)
}

/// A connection that has been greeted.
fn greeted(address: SocketAddr) -> Result<TcpStream, ErrorKind> {
    let stream = TcpStream::connect(address).map_err(|error| error.kind())?;
    greeting(stream, PATIENCE)
}

/// The same connection, once it has been greeted.
fn greeting(mut stream: TcpStream, patience: Duration) -> Result<TcpStream, ErrorKind> {
    stream.set_read_timeout(Some(patience)).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(0) => Err(ErrorKind::UnexpectedEof),
        Ok(_) => Ok(stream),
        Err(error) => Err(error.kind()),
    }
}

#[test]
fn a_connection_too_many_is_reset_and_counted_and_the_next_one_after_an_end_is_served() {
    isolated(|| {
        let (node, _servers) = limited(Options { max_sessions: 2, ..Options::default() });
        let client = node.net.client();
        let address = VIP.parse().unwrap();
        client
            .run(|| {
                let first = greeted(address).unwrap();
                let _second = greeted(address).unwrap();
                assert_eq!(greeted(address).unwrap_err(), ErrorKind::ConnectionReset);
                assert_eq!((node.counters.tcp_sessions(), node.counters.refused_by_limit()), (2, 1));
                drop(first);
                wait_until("a place is free", PATIENCE, || node.counters.tcp_sessions() == 1).unwrap();
                greeted(address).unwrap();
            })
            .unwrap();
    });
}

/// The limits count with descriptors that the process turns out not to have. It has both ends of all
/// connections; the clients' sockets are there beforehand, so that it is not the clients who run out.
#[test]
fn a_process_without_descriptors_left_serves_again_once_it_has_some() {
    isolated(|| {
        const CLIENTS: usize = 60;
        const LEFT: usize = 20;
        let (node, _servers) = limited(Options::default());
        let address = VIP.parse().unwrap();
        let client = Caller::from(node.net.client()).with_patience(Duration::from_millis(300));
        node.net
            .client()
            .run(|| {
                let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                let sockets: Vec<_> = std::iter::repeat_with(socket).take(CLIENTS).collect();
                let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
                let limit = u64::try_from(open + LEFT).unwrap();
                setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
                let streams = sockets.into_iter().map(|socket| connected(socket, address));
                // None asks before all are there.
                let streams: Vec<_> = streams.collect();
                let outcomes = streams.into_iter().map(|stream| greeting(stream, Duration::from_millis(100)));
                let outcomes: Vec<_> = outcomes.collect();
                assert!(outcomes.iter().any(Result::is_err));
                drop(outcomes);
                wait_until("all have ended", PATIENCE, || node.counters.tcp_sessions() == 0).unwrap();
            })
            .unwrap();
        wait_until("a client is served", PATIENCE, || client.connect_tcp(address).is_ok()).unwrap();
        assert!(node.counters.refused_by_limit() + node.counters.failed() > 0);
    });
}

/// A connection that is made, if only by the kernel.
fn connected(socket: Socket, address: SocketAddr) -> TcpStream {
    socket.connect(&address.into()).unwrap();
    socket.into()
}

#[test]
fn one_service_does_not_take_the_places_of_another() {
    isolated(|| {
        let (mut node, _servers) = limited(Options { max_sessions_per_service: 3, ..Options::default() });
        node.apply([service_at("other", 90).applied()].into_iter().chain(pods("other", [here(1)])));
        let (busy, other) = (VIP.parse().unwrap(), "10.96.0.90:80".parse().unwrap());
        node.net
            .client()
            .run(|| {
                let _held: Vec<_> = (0..3).map(|_| greeted(busy).unwrap()).collect();
                assert_eq!(greeted(busy).unwrap_err(), ErrorKind::ConnectionReset);
                greeted(other).unwrap();
            })
            .unwrap();
        assert_eq!((node.counters.refused_by_limit(), node.counters.refused_by_share()), (1, 1));
    });
}

/// Whoever sends under false addresses is many clients.
#[test]
fn clients_that_asked_once_make_way_for_others_and_those_who_go_on_asking_stay() {
    isolated(|| {
        let (node, _servers) = limited(Options { max_sessions_per_service: 4, ..Options::default() });
        let address: SocketAddr = VIP.parse().unwrap();
        let faithful = node.net.client().run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        faithful.set_read_timeout(Some(PATIENCE)).unwrap();
        let ask = || {
            faithful.send_to(b"who?", address).unwrap();
            faithful.recv(&mut [0; 64]).unwrap();
            thread::sleep(Duration::from_millis(20));
        };
        (0..3).for_each(|_| ask());
        for number in 50..60 {
            let source = IpAddr::from([192, 0, 2, number]);
            node.net.client().ip(&format!("addr add {source}/32 dev lo")).unwrap();
            Caller::from(node.net.client()).with_source(source).query_udp(address).unwrap();
        }
        ask();
        assert_eq!((node.counters.udp_sessions(), node.counters.accepted()), (4, 11));
        assert_eq!((node.counters.evicted(), node.counters.refused_by_limit()), (7, 0));
    });
}

#[test]
fn a_thousand_connections_that_say_nothing_keep_nobody_else_from_being_served() {
    isolated(|| {
        const SILENT: usize = 1000;
        let (node, _servers) = limited(Options::default());
        let address = VIP.parse().unwrap();
        let silent: Vec<_> = node
            .net
            .client()
            .run(|| (0..SILENT).map(|_| TcpStream::connect(address).unwrap()).collect())
            .unwrap();
        let _: &Vec<TcpStream> = &silent;
        let relayed = || node.counters.tcp_sessions() >= SILENT;
        wait_until("all are relayed", 4 * PATIENCE, relayed).unwrap();
        let caller = Caller::from(node.net.client()).with_patience(PATIENCE);
        for _ in 0..10 {
            caller.connect_tcp(address).unwrap();
            caller.query_udp(address).unwrap();
        }
        assert!(relayed(), "{}", node.counters.tcp_sessions());
        drop(silent);
        wait_until("all have ended", 4 * PATIENCE, || node.counters.tcp_sessions() == 0).unwrap();
    });
}

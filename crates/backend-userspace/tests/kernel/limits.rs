//! Too many at once.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use portolan_backend_userspace::Options;
use portolan_testkit::netns::{Caller, Topology, isolated, wait_until};
use portolan_testkit::scenario::{POD_PORT, Scenario, here, pods, web};
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

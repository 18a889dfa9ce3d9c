//! Too many at once.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use portolan_backend_userspace::Options;
use portolan_testkit::netns::{Caller, Topology, isolated, wait_until};
use portolan_testkit::scenario::{POD_PORT, Scenario, here, pods, web};

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
fn greeted(address: SocketAddr, patience: Duration) -> Result<TcpStream, ErrorKind> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.kind())?;
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
                let first = greeted(address, PATIENCE).unwrap();
                let _second = greeted(address, PATIENCE).unwrap();
                assert_eq!(greeted(address, PATIENCE).unwrap_err(), ErrorKind::ConnectionReset);
                assert_eq!((node.counters.tcp_sessions(), node.counters.refused_by_limit()), (2, 1));
                drop(first);
                wait_until("a place is free", PATIENCE, || node.counters.tcp_sessions() == 1).unwrap();
                greeted(address, PATIENCE).unwrap();
            })
            .unwrap();
    });
}

/// The limits count with descriptors that the process turns out not to have. Here it has both ends of all
/// connections besides, so that clients and servers run out of them too.
#[test]
fn a_process_without_descriptors_left_serves_again_once_it_has_some() {
    isolated(|| {
        const FEW: u64 = 240;
        let (node, _servers) = limited(Options::default());
        let address = VIP.parse().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, FEW, FEW).unwrap();
        let client = Caller::from(node.net.client()).with_patience(Duration::from_millis(300));
        node.net
            .client()
            .run(|| {
                let outcomes: Vec<_> =
                    (0..FEW).map(|_| greeted(address, Duration::from_millis(100))).collect();
                assert!(outcomes.iter().any(Result::is_err));
                drop(outcomes);
                wait_until("all have ended", PATIENCE, || node.counters.tcp_sessions() == 0).unwrap();
            })
            .unwrap();
        wait_until("a client is served", PATIENCE, || client.connect_tcp(address).is_ok()).unwrap();
        assert!(node.counters.refused_by_limit() + node.counters.failed() > 0);
    });
}

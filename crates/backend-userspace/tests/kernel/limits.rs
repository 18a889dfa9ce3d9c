//! Too many at once.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use portolan_backend_userspace::Options;
use portolan_testkit::netns::{Caller, Topology, isolated, wait_until};
use portolan_testkit::objects::ServiceBuilder;
use portolan_testkit::scenario::{POD_PORT, Scenario, here, pods, service_at, web};
use socket2::{Domain, Socket, Type};

use crate::log::Log;
use crate::node::{LEAST, Node};

const VIP: &str = "10.96.0.80:80";
const PATIENCE: Duration = Duration::from_secs(60);

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
        let log = Log::begin();
        let (node, _servers) = limited(Options { max_sessions: 2, ..Options::default() });
        let client = node.net.client();
        let address = VIP.parse().unwrap();
        client
            .run(|| {
                let first = greeted(address).unwrap();
                let _second = greeted(address).unwrap();
                for _ in 0..2 {
                    assert_eq!(greeted(address).unwrap_err(), ErrorKind::ConnectionReset);
                }
                assert_eq!((node.counters.tcp_sessions.get(), node.counters.refused_by_limit.get()), (2, 2));
                drop(first);
                wait_until("a place is free", PATIENCE, || node.counters.tcp_sessions.get() == 1).unwrap();
                greeted(address).unwrap();
            })
            .unwrap();
        log.assert_said_once(
            "Session limit reached; rejecting new sessions limit=sessions (--userspace-max-sessions)",
        );
        assert_eq!(log.count("limit="), 1, "{}", log.text());
    });
}

/// The limits count with descriptors that the process turns out not to have. It has both ends of all
/// connections; the clients' sockets are there beforehand, so that the clients do not run out.
#[test]
fn a_process_without_descriptors_left_serves_again_once_it_has_some() {
    isolated(|| {
        const CLIENTS: u8 = 4;
        const WORDS: &str = "Session limit reached; rejecting new sessions limit=open files of this process \
            (RLIMIT_NOFILE: LimitNOFILE=, ulimit -n)";
        let log = Log::begin();
        let (node, _servers) = limited(Options::default());
        let address = VIP.parse().unwrap();
        let caller = Caller::from(node.net.client()).with_patience(Duration::from_millis(300));
        let streams: Vec<_> = node
            .net
            .client()
            .run(|| {
                let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                std::iter::repeat_with(socket).take(CLIENTS.into()).collect()
            })
            .unwrap();
        let asking = node.net.client().run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        let mut taken = all_descriptors();

        // A connection waits in the queue; a datagram does not.
        let streams: Vec<_> = streams.into_iter().map(|socket| connected(socket, address)).collect();
        wait_until("it is logged", PATIENCE, || log.count(WORDS) == 1).unwrap();
        assert_eq!((node.counters.accepted.get(), node.counters.refused_by_limit.get()), (0, 0));
        asking.send_to(b"who?", address).unwrap();
        wait_until("a datagram is refused", PATIENCE, || node.counters.refused_by_limit.get() == 1).unwrap();
        assert_eq!((node.counters.accepted.get(), node.counters.failed.get()), (1, 0));

        // With a single one each is accepted and has no way to the endpoint.
        drop(taken.pop());
        for stream in &streams {
            let end = (&*stream).read(&mut [0; 64]).map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset));
        }
        assert_eq!((node.counters.accepted.get(), node.counters.failed.get()), (1 + usize::from(CLIENTS), 0));
        assert_eq!(
            (node.counters.refused_by_limit.get(), node.counters.refused_by_share.get()),
            (1 + usize::from(CLIENTS), 0)
        );

        drop(taken);
        wait_until("a client is served", PATIENCE, || caller.connect_tcp(address).is_ok()).unwrap();
        assert_eq!(
            (node.counters.refused_by_limit.get(), node.counters.failed.get()),
            (1 + usize::from(CLIENTS), 0)
        );
        assert_eq!(log.count(WORDS), 1, "{}", log.text());
    });
}

/// Takes every descriptor that this process may have, few as they are from now on.
fn all_descriptors() -> Vec<File> {
    let open = || File::open("/dev/null");
    let highest = open().unwrap().as_raw_fd();
    let limit = u64::try_from(highest + 10).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
    std::iter::repeat_with(open).map_while(Result::ok).collect()
}

/// A connection that is made, if only by the kernel.
fn connected(socket: Socket, address: SocketAddr) -> TcpStream {
    socket.connect(&address.into()).unwrap();
    socket.into()
}

#[test]
fn one_service_does_not_take_the_sessions_of_another() {
    isolated(|| {
        let log = Log::begin();
        let (mut node, _servers) = limited(Options { max_sessions_per_service: 3, ..Options::default() });
        node.apply([service_at("other", 90).applied()].into_iter().chain(pods("other", [here(1)])));
        let (busy, other) = (VIP.parse().unwrap(), "10.96.0.90:80".parse().unwrap());
        node.net
            .client()
            .run(|| {
                let _held: Vec<_> = (0..3).map(|_| greeted(busy).unwrap()).collect();
                for _ in 0..2 {
                    assert_eq!(greeted(busy).unwrap_err(), ErrorKind::ConnectionReset);
                }
                greeted(other).unwrap();
            })
            .unwrap();
        assert_eq!((node.counters.refused_by_limit.get(), node.counters.refused_by_share.get()), (2, 2));
        log.assert_said_once(
            "Session limit of Service reached; rejecting its new sessions service=shop/web sessions=3 \
             limit=sessions of one Service (--userspace-max-sessions-per-service)",
        );
        assert_eq!(log.count("limit="), 1, "{}", log.text());
    });
}

/// Of thirteen a Service gets ten; three are left for other Services.
#[test]
fn what_is_left_for_other_services_is_logged_with_the_limit_that_is_near() {
    isolated(|| {
        let log = Log::begin();
        let (node, _servers) = limited(Options { max_sessions: 13, ..Options::default() });
        let address = VIP.parse().unwrap();
        node.net
            .client()
            .run(|| {
                let _held: Vec<_> = (0..10).map(|_| greeted(address).unwrap()).collect();
                for _ in 0..2 {
                    assert_eq!(greeted(address).unwrap_err(), ErrorKind::ConnectionReset);
                }
            })
            .unwrap();
        assert_eq!((node.counters.refused_by_limit.get(), node.counters.refused_by_share.get()), (2, 2));
        log.assert_said_once(
            "Session limit of Service reached; rejecting its new sessions service=shop/web sessions=10 \
             limit=sessions (--userspace-max-sessions)",
        );
    });
}

#[test]
fn udp_sessions_take_half_of_the_ports_and_tcp_continues() {
    isolated(|| {
        let log = Log::begin();
        let net = Topology::routed(1).unwrap();
        // Four ports, so two sessions.
        net.node().sysctl(&[("net/ipv4/ip_local_port_range", "50000 50003")]).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        let mut node = Node::with(net, Scenario::new().config, Options::default(), &LEAST);
        let services = [web(), service_at("other", 90)].map(ServiceBuilder::applied);
        node.apply(services.into_iter().chain(pods("web", [here(1)])).chain(pods("other", [here(1)])));
        let (busy, other): (_, SocketAddr) = (VIP.parse().unwrap(), "10.96.0.90:80".parse().unwrap());
        let caller = Caller::from(node.net.client());
        for _ in 0..2 {
            caller.query_udp(busy).unwrap();
        }
        let asking = node.net.client().run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        for refused in 1..=2 {
            asking.send_to(b"who?", other).unwrap();
            let is_refused = || node.counters.refused_by_limit.get() == refused;
            wait_until("a datagram is refused", PATIENCE, is_refused).unwrap();
        }
        caller.connect_tcp(other).unwrap();
        assert_eq!((node.counters.udp_sessions.get(), node.counters.refused_by_share.get()), (2, 0));
        log.assert_said_once(
            "Session limit reached; rejecting new sessions limit=ports for UDP (half of net.ipv4.ip_local_port_range)",
        );
        assert_eq!(log.count("limit="), 1, "{}", log.text());
    });
}

/// A sender with false source addresses is many clients.
#[test]
fn udp_sessions_with_one_datagram_are_evicted_and_those_in_use_stay() {
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
        assert_eq!((node.counters.udp_sessions.get(), node.counters.accepted.get()), (4, 11));
        assert_eq!((node.counters.evicted.get(), node.counters.refused_by_limit.get()), (7, 0));
    });
}

#[test]
fn a_thousand_silent_connections_do_not_keep_others_from_being_served() {
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
        let relayed = || node.counters.tcp_sessions.get() >= SILENT;
        wait_until("all are relayed", 4 * PATIENCE, relayed).unwrap();
        let caller = Caller::from(node.net.client()).with_patience(PATIENCE);
        for _ in 0..10 {
            caller.connect_tcp(address).unwrap();
            caller.query_udp(address).unwrap();
        }
        assert!(relayed(), "{}", node.counters.tcp_sessions.get());
        drop(silent);
        wait_until("all have ended", 4 * PATIENCE, || node.counters.tcp_sessions.get() == 0).unwrap();
    });
}

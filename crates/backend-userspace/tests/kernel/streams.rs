//! What becomes of the bytes of connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use portolan_core::Protocol;
use portolan_testkit::netns::{Caller, Namespace, Topology, isolated, wait_until};
use portolan_testkit::objects::slice;
use portolan_testkit::scenario::{POD_PORT, here, pods, web};
use socket2::SockRef;

use crate::node::Node;

const VIPS: [&str; 2] = ["10.96.0.80:80", "[fd00:10:96::80]:80"];
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(500);

/// A node that serves these pods; the test starts what listens in them.
fn serving(count: u8) -> Node {
    let mut node = Node::new(Topology::routed(count).unwrap());
    node.apply([web().applied()].into_iter().chain(pods("web", (1..=count).map(here))));
    node
}

/// Serves one connection after the other in a pod.
fn serve(pod: &Namespace, talk: impl Fn(TcpStream) + Send + 'static) -> JoinHandle<()> {
    let listener = pod.run(|| TcpListener::bind(("::", POD_PORT)).unwrap()).unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(&talk))
}

fn connect(node: &Node, to: &str) -> TcpStream {
    let to: SocketAddr = to.parse().unwrap();
    let stream = node.net.client().run(|| TcpStream::connect(to).unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Bytes that repeat nowhere near (xorshift64).
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let bytes = self.0.to_ne_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(buffer.len())
    }
}

/// Length and checksum (FNV-1a) of everything to come.
fn digest(mut from: impl Read) -> (u64, u64) {
    let (mut length, mut sum, mut buffer) = (0, 0xcbf2_9ce4_8422_2325_u64, vec![0; 1 << 16]);
    loop {
        let count = from.read(&mut buffer).unwrap();
        if count == 0 {
            return (length, sum);
        }
        length += count as u64;
        for byte in &buffer[..count] {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn send_noise(seed: u64, length: u64, to: &mut TcpStream) {
    std::io::copy(&mut Noise(seed).take(length), to).unwrap();
    to.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn large_transfers_arrive_whole_in_both_directions_at_once() {
    isolated(|| {
        const LENGTH: u64 = 48 << 20;
        let node = serving(1);
        let (sender, receiver) = std::sync::mpsc::channel();
        let _server = serve(&node.net.pod(1).namespace, move |mut stream| {
            let mut reader = stream.try_clone().unwrap();
            let reading = thread::spawn(move || digest(&mut reader));
            send_noise(2, LENGTH, &mut stream);
            sender.send(reading.join().unwrap()).unwrap();
        });
        for vip in VIPS {
            let mut stream = connect(&node, vip);
            let reader = stream.try_clone().unwrap();
            let reading = thread::spawn(move || digest(reader));
            send_noise(1, LENGTH, &mut stream);
            assert_eq!(reading.join().unwrap(), digest(Noise(2).take(LENGTH)), "to the client");
            assert_eq!(
                receiver.recv_timeout(PATIENCE).unwrap(),
                digest(Noise(1).take(LENGTH)),
                "to the endpoint"
            );
        }
        wait_until("sessions have ended", PATIENCE, || node.counters.tcp_sessions.get() == 0).unwrap();
    });
}

#[test]
fn a_client_that_closed_its_direction_still_gets_its_answer() {
    isolated(|| {
        let node = serving(1);
        let _server = serve(&node.net.pod(1).namespace, |mut stream| {
            // Reads to the end, which comes only if the client's end is passed on.
            let (length, _) = digest(&mut stream);
            thread::sleep(Duration::from_millis(300));
            write!(stream, "got {length} bytes").unwrap();
        });
        for vip in VIPS {
            let mut stream = connect(&node, vip);
            stream.write_all(&vec![7; 100_000]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "got 100000 bytes");
        }
    });
}

#[test]
fn a_client_may_continue_to_send_after_its_endpoint_closed_its_direction() {
    isolated(|| {
        let node = serving(1);
        let (sender, receiver) = std::sync::mpsc::channel();
        let _server = serve(&node.net.pod(1).namespace, move |mut stream| {
            stream.write_all(b"goodbye").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            sender.send(digest(&mut stream).0).unwrap();
        });
        let mut stream = connect(&node, VIPS[0]);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "goodbye");
        for _ in 0..5 {
            stream.write_all(&[7; 10_000]).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(node.counters.tcp_sessions.get(), 1);
        drop(stream);
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), 50_000);
        wait_until("the session has ended", PATIENCE, || node.counters.tcp_sessions.get() == 0).unwrap();
    });
}

#[test]
fn a_reset_is_passed_on_in_both_directions() {
    isolated(|| {
        let node = serving(1);
        let (sender, receiver) = std::sync::mpsc::channel();
        let _server = serve(&node.net.pod(1).namespace, move |mut stream| {
            let mut order = [0];
            stream.read_exact(&mut order).unwrap();
            if &order == b"r" {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            } else {
                sender.send(stream.read(&mut order).map_err(|error| error.kind())).unwrap();
            }
        });
        let mut stream = connect(&node, VIPS[0]);
        stream.write_all(b"r").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);

        let mut stream = connect(&node, VIPS[0]);
        stream.write_all(b"w").unwrap();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        thread::sleep(Duration::from_millis(100));
        drop(stream);
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_slow_receiver_delays_its_sender_and_no_other_connection() {
    isolated(|| {
        let node = serving(1);
        let _server = serve(&node.net.pod(1).namespace, |mut stream| {
            thread::spawn(move || {
                let mut order = [0];
                stream.read_exact(&mut order).unwrap();
                // A client that does not read its flood delays this thread only.
                let _ = std::io::copy(
                    &mut Noise(3).take(if &order == b"f" { 64 << 20 } else { 10 }),
                    &mut stream,
                );
            });
        });
        let mut flooded = connect(&node, VIPS[0]);
        flooded.write_all(b"f").unwrap();
        thread::sleep(Duration::from_millis(500));
        for _ in 0..20 {
            let mut stream = connect(&node, VIPS[0]);
            stream.write_all(b"s").unwrap();
            assert_eq!(digest(&mut stream).0, 10);
        }
        assert_eq!(digest(&mut flooded), digest(Noise(3).take(64 << 20)));
    });
}

#[test]
fn a_connection_that_an_endpoint_refuses_goes_to_the_next() {
    isolated(|| {
        let node = serving(3);
        let _server =
            portolan_testkit::netns::EchoServer::start(&node.net.pod(2).namespace, "pod2", &[POD_PORT])
                .unwrap();
        for vip in VIPS {
            let tally = Caller::from(node.net.client()).many_tcp(vip.parse().unwrap(), 60).unwrap();
            assert_eq!(tally.answers_of("pod2"), 60, "{tally}");
        }
        assert_eq!(node.counters.failed.get(), 0);
    });
}

#[test]
fn a_connection_whose_endpoint_vanished_goes_to_the_next_before_the_client_gives_up() {
    isolated(|| {
        let node = serving(2);
        let _servers = node.net.serve(&[POD_PORT]).unwrap();
        node.net.pod(1).namespace.ip("link set eth0 down").unwrap();
        let caller = Caller::from(node.net.client()).with_patience(PATIENCE);
        for vip in VIPS {
            for _ in 0..4 {
                // Left to itself, the kernel would try for two minutes.
                assert_eq!(caller.connect_tcp(vip.parse().unwrap()).unwrap().pod, "pod2");
            }
        }
    });
}

#[test]
fn a_connection_that_no_endpoint_takes_is_reset() {
    isolated(|| {
        let node = serving(2);
        let mut stream = connect(&node, VIPS[0]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        wait_until("it is counted", PATIENCE, || node.counters.failed.get() == 1).unwrap();
        assert_eq!(node.counters.tcp_sessions.get(), 0);
    });
}

/// Slices written by hand may name any address, also one of a service, which no validation refuses.
#[test]
fn a_service_that_is_its_own_endpoint_resets_instead_of_connecting_to_itself_without_end() {
    isolated(|| {
        let mut node = Node::new(Topology::routed(1).unwrap());
        let itself = ["10.96.0.80", "192.0.2.1"].into_iter().fold(
            slice("shop/by-hand", "web").port("tcp", Protocol::Tcp, 80).port("udp", Protocol::Udp, 80),
            |slice, address| slice.on("node1", address),
        );
        node.apply([web().applied(), itself.applied()]);
        // Nothing listens at this port of the second address, and it is tried too.
        let mut stream = connect(&node, VIPS[0]);
        assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        wait_until("it has ended", PATIENCE, || node.counters.tcp_sessions.get() == 0).unwrap();
        assert_eq!((node.counters.accepted.get(), node.counters.failed.get()), (1, 1));
        let unanswered = Caller::from(node.net.client())
            .with_patience(SILENCE)
            .query_udp(VIPS[0].parse().unwrap())
            .unwrap_err();
        assert_eq!(unanswered.kind(), ErrorKind::TimedOut);
    });
}

//! Two connections and what is between them, on loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::*;

type Outcome = io::Result<()>;

/// A client and an endpoint, joined by a relay.
struct Joined {
    client: std::net::TcpStream,
    endpoint: std::net::TcpStream,
    relay: Option<JoinHandle<Outcome>>,
    runtime: Runtime,
}

/// Joins them, with so many pipes. Both have small buffers.
fn joined(pipes: usize) -> Joined {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (client, near) = connection();
    let (far, endpoint) = connection();
    let inside = runtime.enter();
    let [near, far] = [near, far].map(|stream| {
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
    });
    let relay = runtime.spawn(async move {
        let outcome = relay(&near, &far, &Pipes::new(pipes)).await;
        if outcome.is_err() {
            for stream in [&near, &far] {
                SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        outcome
    });
    drop(inside);
    Joined { client, endpoint, relay: Some(relay), runtime }
}

fn connection() -> (std::net::TcpStream, std::net::TcpStream) {
    const BUFFER: usize = 32 << 10;
    let socket = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(BUFFER).unwrap();
        socket.set_send_buffer_size(BUFFER).unwrap();
        socket
    };
    let listener = socket();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(1).unwrap();
    let listener = TcpListener::from(listener);
    let one = socket();
    one.connect(&listener.local_addr().unwrap().into()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for stream in [&SockRef::from(&one), &SockRef::from(&other)] {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    (one.into(), other)
}

impl Joined {
    /// How the relay ends, within a time.
    fn outcome(&mut self, patience: Duration) -> Option<Outcome> {
        let relay = self.relay.take().unwrap();
        let ended = self.runtime.block_on(async { timeout(patience, relay).await });
        ended.ok().map(|outcome| outcome.unwrap())
    }
}

fn reset(stream: std::net::TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Writes until nothing more is taken, and returns how much was.
fn flood(mut stream: &std::net::TcpStream) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut written = 0;
    while let Ok(count) = stream.write(&[7; 4096]) {
        written += count;
    }
    written
}

#[test]
fn bytes_arrive_whole_in_both_directions_with_pipes_and_without() {
    for pipes in [2, 1, 0] {
        let mut joined = joined(pipes);
        let bytes: Vec<u8> = (0..=250).cycle().take(5_000_011).collect();
        thread::scope(|scope| {
            for stream in [&joined.client, &joined.endpoint] {
                let bytes = &bytes;
                let mut writing = stream.try_clone().unwrap();
                scope.spawn(move || {
                    writing.write_all(bytes).unwrap();
                    writing.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(move || {
                    let (mut reading, mut read) = (stream, Vec::new());
                    reading.read_to_end(&mut read).unwrap();
                    assert!(read == *bytes, "{pipes} pipes: {} bytes", read.len());
                });
            }
        });
        joined.outcome(Duration::from_secs(5)).unwrap().unwrap();
    }
}

#[test]
fn a_receiver_that_never_reads_costs_no_more_than_a_pipe() {
    let joined = joined(2);
    let taken = flood(&joined.client);
    assert!(taken < 1 << 20, "{taken} bytes");
}

#[test]
fn a_client_that_resets_ends_a_relay_whose_endpoint_never_reads() {
    let mut joined = joined(2);
    flood(&joined.client);
    let client = std::mem::replace(&mut joined.client, connection().0);
    reset(client);
    assert!(joined.outcome(2 * DRAIN_TIMEOUT).unwrap().is_err());
}

#[test]
fn a_reset_is_noticed_after_its_side_had_ended() {
    let mut joined = joined(2);
    joined.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(joined.endpoint.read(&mut [0; 8]).unwrap(), 0);
    let client = std::mem::replace(&mut joined.client, connection().0);
    reset(client);
    // Nothing is sent any more, so only the error itself can tell.
    assert!(joined.outcome(Duration::from_secs(2)).unwrap().is_err());
    assert_eq!(joined.endpoint.read(&mut [0; 8]).unwrap(), 0, "its end had been read before");
    let written = (0..10).find_map(|_| joined.endpoint.write(b"x").err());
    assert!(written.is_some(), "the endpoint is reset");
}

#[test]
fn what_was_sent_before_a_reset_arrives_and_then_the_reset() {
    for pipes in [2, 0] {
        let mut joined = joined(pipes);
        // More than fits into the client's buffer, so that the rest waits in the relay.
        let said = flood(&joined.endpoint);
        thread::sleep(Duration::from_millis(100));
        let endpoint = std::mem::replace(&mut joined.endpoint, connection().0);
        // What the sender still had itself goes with it.
        reset(endpoint);
        thread::sleep(Duration::from_millis(300));
        let (mut heard, mut buffer) = (0, [0; 4096]);
        let end = loop {
            match joined.client.read(&mut buffer) {
                Ok(0) => panic!("ended as if all had been said after {heard} of {said} bytes"),
                Ok(count) => heard += count,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(end, ErrorKind::ConnectionReset);
        assert!(heard > 100 << 10 || pipes == 0 && heard > 40 << 10, "{heard} of {said} bytes");
        assert!(joined.outcome(Duration::from_secs(5)).unwrap().is_err());
    }
}

#[test]
fn an_idle_relay_does_not_end() {
    let start = Instant::now();
    let mut joined = joined(2);
    assert!(joined.outcome(Duration::from_millis(300)).is_none());
    assert!(start.elapsed() >= Duration::from_millis(300));
}

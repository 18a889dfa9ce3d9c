//! Client and endpoint, and how fast they are.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::Outcome;

/// A figure and its unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// How much a program that is in a hurry reads or writes at once.
const PIECE: usize = 1 << 16;

type Measure = fn(SocketAddr, Duration) -> Outcome<Measured>;

/// What is measured, in words.
pub(crate) fn measurements() -> [(&'static str, Measure); 7] {
    [
        ("one connection, sending", |to, span| stream(to, span, 1, b'<')),
        ("one connection, receiving", |to, span| stream(to, span, 1, b'>')),
        ("100 connections, sending", |to, span| stream(to, span, 100, b'<')),
        ("100 connections, receiving", |to, span| stream(to, span, 100, b'>')),
        ("a byte there and back on one connection", round_trip),
        ("connections one after the other", connections),
        ("a datagram there and back", datagrams),
    ]
}

/// Answers by TCP and UDP until the parent has had enough. What to do with a connection its first byte says.
pub(crate) fn serve(address: SocketAddr) -> Outcome<()> {
    let (tcp, udp) = (TcpListener::bind(address)?, UdpSocket::bind(address)?);
    thread::spawn(move || -> io::Result<()> {
        let mut buffer = [0; 2048];
        loop {
            let (length, peer) = udp.recv_from(&mut buffer)?;
            udp.send_to(&buffer[..length], peer)?;
        }
    });
    thread::spawn(move || {
        // Kept until the end of all, since no other client comes after they were measured.
        let mut idle = Vec::new();
        for stream in tcp.incoming().flatten() {
            match role(&stream) {
                Ok(b'.') => idle.push(stream),
                // Whether a client goes in the middle of it is its own affair.
                Ok(role) => drop(thread::spawn(move || answer(stream, role))),
                Err(_) => {}
            }
        }
    });
    crate::wait_for_the_end()
}

fn role(mut stream: &TcpStream) -> io::Result<u8> {
    let mut role = [0];
    stream.read_exact(&mut role)?;
    if role == *b"." {
        stream.write_all(b".")?;
    }
    Ok(role[0])
}

fn answer(mut stream: TcpStream, role: u8) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match role {
        b'<' => {
            let mut buffer = vec![0; PIECE];
            while stream.read(&mut buffer)? > 0 {}
            Ok(())
        }
        b'>' => {
            let buffer = vec![7; PIECE];
            loop {
                stream.write_all(&buffer)?;
            }
        }
        _ => loop {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            stream.write_all(&byte)?;
        },
    }
}

fn open_as(to: SocketAddr, role: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.write_all(&[role])?;
    Ok(stream)
}

/// Opens connections that nothing happens on any more.
pub(crate) fn open(to: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let open = |_| {
        let mut stream = open_as(to, b'.')?;
        stream.read_exact(&mut [0])?;
        // In the end they go at once, and the endpoint's with them.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(stream)
    };
    (0..count).map(open).collect()
}

/// Bytes a second over so many connections.
fn stream(to: SocketAddr, span: Duration, count: usize, role: u8) -> Outcome<Measured> {
    let end = Instant::now() + span;
    let workers: Vec<_> = (0..count)
        .map(|_| {
            thread::spawn(move || -> io::Result<u64> {
                let (mut stream, mut moved) = (open_as(to, role)?, 0);
                let mut buffer = vec![0; PIECE];
                while Instant::now() < end {
                    let count =
                        if role == b'<' { stream.write(&buffer)? } else { stream.read(&mut buffer)? };
                    moved += u64::try_from(count).unwrap_or_default();
                }
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                Ok(moved)
            })
        })
        .collect();
    let mut bytes = 0;
    for worker in workers {
        bytes += worker.join().map_err(|_panic| "a client panicked")??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok(Measured { value: bytes as f64 / span.as_secs_f64() / 1e6, unit: "MB/s" })
}

/// The median of how long `once` takes.
fn median(span: Duration, mut once: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let (end, mut times) = (Instant::now() + span, Vec::new());
    while Instant::now() < end {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6))
}

fn round_trip(to: SocketAddr, span: Duration) -> Outcome<Measured> {
    let mut stream = open_as(to, b'=')?;
    let value = median(span, || {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])
    })?;
    Ok(Measured { value, unit: "µs" })
}

/// How long it takes from nothing to the first answer.
fn connections(to: SocketAddr, span: Duration) -> Outcome<Measured> {
    let value = median(span, || {
        let mut stream = open_as(to, b'=')?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        // No port is to stay in TIME_WAIT.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    })?;
    Ok(Measured { value, unit: "µs" })
}

fn datagrams(to: SocketAddr, span: Duration) -> Outcome<Measured> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let value = median(span, || {
        socket.send(b"x")?;
        socket.recv(&mut [0; 16]).map(drop)
    })?;
    Ok(Measured { value, unit: "µs" })
}

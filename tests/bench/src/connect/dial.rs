//! One connection after the other, each timed from the call to its return.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use socket2::{Domain, Socket, Type};

/// Clients that connections come from, so that one client's ports do not run out.
const CLIENTS: u32 = 50;
/// How long a connection that stands may take to reach the listener.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connects from the thread's namespace to what the listener serves.
pub(super) struct Dial<'a> {
    listener: &'a TcpListener,
}

impl<'a> Dial<'a> {
    /// The listener does not block, and answers for every address that will be asked for.
    pub(super) fn new(listener: &'a TcpListener) -> Self {
        Self { listener }
    }

    /// Opens a connection, and closes both ends so that nothing of it stays. The time is that of `connect`
    /// alone.
    pub(super) fn connect(&self, round: u32, to: SocketAddr) -> anyhow::Result<Duration> {
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 1)) + round % CLIENTS);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // A reset in place of the closing handshake: no TIME-WAIT is left behind.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.bind(&SocketAddr::new(from.into(), 0).into())?;
        let began = Instant::now();
        socket.connect(&to.into()).with_context(|| format!("cannot connect {from} to {to}"))?;
        let took = began.elapsed();
        // Who relays must not find the client gone.
        let served = self.accept().with_context(|| format!("{from} to {to} reached no server"))?;
        drop(socket);
        drop(served);
        Ok(took)
    }

    fn accept(&self) -> std::io::Result<TcpStream> {
        let began = Instant::now();
        loop {
            match self.listener.accept() {
                Ok((served, _)) => return Ok(served),
                Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
    }
}

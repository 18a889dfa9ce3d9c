//! One client of UDP and its endpoint.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use portolan_core::IpFamily;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::batch::{BATCH, Batch};
use crate::hops::Hops;
use crate::limits;
use crate::relay::{Relay, UdpTimeouts};
use crate::second_chance::Ticket;

/// A client that has an endpoint.
#[derive(Debug)]
pub(super) struct Session {
    way: Arc<Way>,
    /// How many datagrams the client has sent.
    sent: u64,
    answers: JoinHandle<()>,
    /// Where it stands among those of its place.
    pub(super) ticket: Ticket,
    _permit: limits::Session,
}

/// What the client's side and the endpoint's side share.
#[derive(Debug)]
pub(super) struct Way {
    endpoint: SocketAddr,
    socket: UdpSocket,
    /// When something last came, from either side, by the relay's clock.
    last: AtomicU64,
    /// The endpoint does not listen.
    is_refused: AtomicBool,
}

/// What became of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// They are on their way, or lost.
    Done,
    /// This endpoint had refused earlier ones; those from this one on were not sent.
    Refused(SocketAddr, usize),
}

impl Way {
    /// Opens the way to an endpoint, over at most so many hops.
    ///
    /// # Errors
    /// The host knows no way there, or has no descriptor or port left.
    pub(super) fn open(endpoint: SocketAddr, hops: Hops, now: u64) -> io::Result<Self> {
        let any: SocketAddr = match endpoint {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        hops.limit(&SockRef::from(&socket), IpFamily::of(endpoint.ip()))?;
        socket.connect(endpoint)?;
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { endpoint, socket, last: now.into(), is_refused: false.into() })
    }
}

impl Session {
    /// Waits for answers, which leave by `listener`. `ticket` is where it stands among those of its place.
    pub(super) fn new(
        way: Way,
        listener: &Arc<UdpSocket>,
        client: SocketAddr,
        permit: limits::Session,
        ticket: Ticket,
        relay: &Arc<Relay>,
    ) -> Self {
        let way = Arc::new(way);
        let answers = tokio::spawn(answer(Arc::clone(&way), Arc::clone(listener), client, Arc::clone(relay)));
        Self { way, sent: 0, answers, ticket, _permit: permit }
    }

    /// Whether its client has sent a single datagram.
    pub(super) fn is_single(&self) -> bool {
        self.sent <= 1
    }

    /// When it was last used, from either side, by the relay's clock.
    pub(super) fn last_used(&self) -> u64 {
        self.way.last.load(Ordering::Relaxed)
    }

    /// The endpoint.
    pub(super) fn endpoint(&self) -> SocketAddr {
        self.way.endpoint
    }

    /// Passes datagrams on.
    pub(super) fn send(&mut self, batch: &mut Batch, run: Range<usize>, now: u64) -> Sending {
        let count = u64::try_from(run.len()).unwrap_or(u64::MAX);
        let sent = if self.way.is_refused.load(Ordering::Relaxed) {
            Err((run.start, io::ErrorKind::ConnectionRefused.into()))
        } else {
            batch.send(&self.way.socket, run, None)
        };
        match sent {
            Err((next, error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Sending::Refused(self.way.endpoint, next)
            }
            _ => {
                self.way.last.store(now, Ordering::Relaxed);
                self.sent = self.sent.saturating_add(count);
                Sending::Done
            }
        }
    }

    /// Whether it has been silent for too long.
    pub(super) fn is_over(&self, now: u64, timeouts: UdpTimeouts) -> bool {
        let limit = if self.is_single() { timeouts.single.min(timeouts.idle) } else { timeouts.idle };
        let silent = Duration::from_millis(now.saturating_sub(self.last_used()));
        silent >= limit
    }

    /// Ends it, and returns when its socket is closed.
    pub(super) async fn end(mut self) {
        self.answers.abort();
        // Aborting is what was asked for.
        let _ = (&mut self.answers).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// Passes the endpoint's datagrams on to the client.
async fn answer(way: Arc<Way>, listener: Arc<UdpSocket>, client: SocketAddr, relay: Arc<Relay>) {
    while way.socket.readable().await.is_ok() {
        let received = BATCH.with_borrow_mut(|batch| {
            way.socket.try_io(Interest::READABLE, || batch.receive_answers(&way.socket))?;
            // What the client's side has no room for is lost.
            let _ = batch.send(&listener, 0..batch.len(), Some(client));
            Ok::<_, io::Error>(())
        });
        match received {
            Ok(()) => way.last.store(relay.clock(), Ordering::Relaxed),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                way.is_refused.store(true, Ordering::Relaxed);
            }
            Err(_) => {}
        }
    }
}

//! One client of UDP and its endpoint.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::batch::{BATCH, Batch};
use crate::counters;
use crate::relay::{Relay, UdpTimeouts};

/// A client that has an endpoint.
#[derive(Debug)]
pub(super) struct Session {
    way: Arc<Way>,
    /// How many datagrams the client has sent.
    sent: u64,
    answers: JoinHandle<()>,
    _permit: counters::Session,
}

/// What the client's side and the endpoint's side share.
#[derive(Debug)]
struct Way {
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
    /// This endpoint had refused earlier ones; these were not sent.
    Refused(SocketAddr),
}

impl Session {
    /// Opens the way to an endpoint and waits for answers, which leave by `listener`.
    pub(super) fn begin(
        listener: &Arc<UdpSocket>,
        client: SocketAddr,
        endpoint: SocketAddr,
        permit: counters::Session,
        relay: &Arc<Relay>,
    ) -> io::Result<Self> {
        let any: SocketAddr = match endpoint {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        socket.connect(endpoint)?;
        let socket = UdpSocket::from_std(socket)?;
        let way = Arc::new(Way { endpoint, socket, last: relay.clock().into(), is_refused: false.into() });
        let answers = tokio::spawn(answer(Arc::clone(&way), Arc::clone(listener), client, Arc::clone(relay)));
        Ok(Self { way, sent: 0, answers, _permit: permit })
    }

    /// The endpoint.
    pub(super) fn endpoint(&self) -> SocketAddr {
        self.way.endpoint
    }

    /// Passes datagrams on.
    pub(super) fn send(&mut self, batch: &mut Batch, run: Range<usize>, now: u64) -> Sending {
        let refused = self.way.is_refused.load(Ordering::Relaxed);
        let count = u64::try_from(run.len()).unwrap_or(u64::MAX);
        let sent = if refused {
            Err(io::ErrorKind::ConnectionRefused.into())
        } else {
            batch.send(&self.way.socket, run, None)
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Sending::Refused(self.way.endpoint)
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
        let limit = if self.sent > 1 { timeouts.stream } else { timeouts.single };
        let silent = Duration::from_millis(now.saturating_sub(self.way.last.load(Ordering::Relaxed)));
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
            way.socket.try_io(Interest::READABLE, || batch.receive(&way.socket))?;
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

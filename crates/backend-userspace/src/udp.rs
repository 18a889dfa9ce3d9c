//! UDP: a session for each client, kept until it is idle for too long.
//!
//! A listen address has one socket: all clients send to it, and all answers leave through it, so that they come from the
//! address that was asked. Each client has its own socket towards its endpoint, which shows whose answer
//! it is. As in connection tracking, a session with a single datagram is kept for a shorter time.
//!
//! What cannot be sent at once is lost, as datagrams may be: to wait would let one client delay others.
//!
//! A sender with false source addresses is any number of clients. When a limit is reached, a CLOCK over the sessions of the
//! listen address evicts one: those with a single datagram first come first, others only when they are idle.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg};
use portolan_core::{IpFamily, Protocol};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::backend::Options;
use crate::limits::{Kind, Limit, Permit};
use crate::listener::ListenerContext;
use crate::relay::Relay;
use crate::ttl::Ttl;

/// How often sessions are checked for being idle.
const SWEEP: Duration = Duration::from_secs(1);
/// How many datagrams are forwarded before other tasks of this thread run.
const MAX_DATAGRAMS: usize = 256;
/// How many sessions the CLOCK visits to find one that may be evicted.
const MAX_VISITS: usize = 16;
/// No datagram is longer: the length in a UDP header has 16 bits (RFC 768).
const MAX_LENGTH: usize = 1 << 16;

thread_local! {
    /// For one datagram between two waits of this thread, so that sessions need no buffers.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_LENGTH]);
}

/// Relays until stopped; then all sessions end. The permit is dropped last, after the socket.
pub(crate) async fn serve(
    _permit: Permit,
    socket: Arc<UdpSocket>,
    context: Arc<ListenerContext>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut state = context.balancer.subscribe();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut server = Server { socket, context, sessions: IndexMap::new(), hand: 0 };
    loop {
        tokio::select! {
            _ = &mut stop => break,
            ready = server.socket.readable() => match ready {
                Ok(()) => server.forward_available(),
                Err(_) => break,
            },
            _ = state.changed() => {
                let state = Arc::clone(&state.borrow_and_update());
                server.sessions.retain(|_, session| state.keeps(session.endpoint()));
            }
            _ = sweep.tick(), if !server.sessions.is_empty() => server.end_idle(),
        }
    }
    for (_, session) in server.sessions.drain(..) {
        session.end().await;
    }
}

/// One socket and the clients that send to it.
struct Server {
    socket: Arc<UdpSocket>,
    context: Arc<ListenerContext>,
    sessions: IndexMap<SocketAddr, Session>,
    /// The index of the session that the CLOCK visits next.
    hand: usize,
}

impl Server {
    fn forward_available(&mut self) {
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..MAX_DATAGRAMS {
                let received = self.socket.try_io(Interest::READABLE, || receive(&self.socket, buffer));
                let Ok((length, client, ttl)) = received else { return };
                self.forward(client, ttl, buffer.get(..length).unwrap_or_default());
            }
        });
    }

    /// Forwards a datagram. An endpoint that no longer listens is noticed only when the next datagram is sent, which then
    /// goes to another endpoint.
    fn forward(&mut self, client: SocketAddr, ttl: Ttl, datagram: &[u8]) {
        let mut failed = Vec::new();
        loop {
            if let Some(session) = self.sessions.get_mut(&client) {
                if session.send(datagram, self.context.relay.clock()) {
                    return;
                }
                failed.push(session.endpoint());
                self.sessions.swap_remove(&client);
            }
            let Some(session) = self.start_session(client, ttl, &mut failed) else { return };
            self.sessions.insert(client, session);
        }
    }

    fn start_session(
        &mut self,
        client: SocketAddr,
        ttl: Ttl,
        failed: &mut Vec<SocketAddr>,
    ) -> Option<Session> {
        let context = Arc::clone(&self.context);
        let permit = context.admit(Kind::Udp, client.ip(), || self.evict())?;
        let flow = ttl.decremented().and_then(|ttl| self.connect(client.ip(), ttl, failed));
        let flow = flow.map_err(|error| context.relay.limits.count_failed(&error)).ok()?;
        Some(Session::start(flow, &self.socket, client, permit, &context.relay))
    }

    /// Ends a session that may be evicted, if the CLOCK finds one.
    fn evict(&mut self) -> bool {
        let (now, options) = (self.context.relay.clock(), self.context.relay.options);
        for _ in 0..MAX_VISITS.min(self.sessions.len()) {
            let at = self.hand % self.sessions.len();
            self.hand = at + 1;
            if self.sessions[at].may_be_evicted(now, &options) {
                self.sessions.swap_remove_index(at);
                self.context.relay.limits.counters.evicted.add(1);
                return true;
            }
        }
        false
    }

    /// Opens a flow to the next endpoint, or to others where there is no way to it.
    fn connect(&self, client: IpAddr, ttl: Ttl, failed: &mut Vec<SocketAddr>) -> io::Result<Flow> {
        let (balancer, node) = (&self.context.balancer, &self.context.node);
        let (kind, origin) = (self.context.kind, self.context.origin(client));
        while let Some(endpoint) = balancer.choose(client, kind, origin, failed, Instant::now()) {
            if !node.is_listening(endpoint, Protocol::Udp) {
                match Flow::open(endpoint, ttl, self.context.relay.clock()) {
                    Ok(flow) => return Ok(flow),
                    Err(error) if Limit::of(&error).is_some() => return Err(error),
                    Err(err) => {
                        debug!(servicePort = %balancer.name, %client, %endpoint, %err, "Failed to connect to endpoint");
                    }
                }
            }
            failed.push(endpoint);
        }
        Err(io::ErrorKind::HostUnreachable.into())
    }

    fn end_idle(&mut self) {
        let (now, options) = (self.context.relay.clock(), self.context.relay.options);
        self.sessions.retain(|_, session| !session.is_over(now, &options));
    }
}

/// Receives one datagram: its length, its sender, and the TTL that it came with.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Ttl)> {
    let (mut control, mut space) = (nix::cmsg_space!(i32), [IoSliceMut::new(buffer)]);
    let one = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut space,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let address = one.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|address| SocketAddr::from(*address));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::from(*address)))
    });
    let client = address.ok_or(io::ErrorKind::InvalidData)?;
    Ok((one.bytes, client, Ttl::of_datagram(one.cmsgs().into_iter().flatten())))
}

/// A client with its endpoint.
#[derive(Debug)]
struct Session {
    flow: Arc<Flow>,
    /// How many datagrams the client has sent.
    sent: usize,
    answers: JoinHandle<()>,
    _permit: Permit,
}

/// The socket towards the endpoint, shared with the task that passes answers on.
#[derive(Debug)]
struct Flow {
    endpoint: SocketAddr,
    socket: UdpSocket,
    /// When a datagram last came from either side, by the relay's clock.
    last: AtomicU64,
    /// The endpoint does not listen.
    is_refused: AtomicBool,
}

impl Flow {
    /// # Errors
    /// There is no route to the endpoint, or no descriptor or port is left.
    fn open(endpoint: SocketAddr, ttl: Ttl, now: u64) -> io::Result<Self> {
        let any: SocketAddr = match endpoint {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        ttl.set(&SockRef::from(&socket), IpFamily::of(endpoint.ip()))?;
        socket.connect(endpoint)?;
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { endpoint, socket, last: now.into(), is_refused: false.into() })
    }

    /// Passes datagrams of the endpoint on to the client.
    async fn pass_answers(self: Arc<Self>, listener: Arc<UdpSocket>, client: SocketAddr, relay: Arc<Relay>) {
        while self.socket.readable().await.is_ok() {
            let received = BUFFER.with_borrow_mut(|buffer| {
                let length = self.socket.try_recv(buffer)?;
                // What does not fit into the listener's send buffer is lost.
                let answer = buffer.get(..length).unwrap_or_default();
                let _ = SockRef::from(&*listener).send_to(answer, &client.into());
                Ok::<_, io::Error>(())
            });
            match received {
                Ok(()) => self.last.store(relay.clock(), Ordering::Relaxed),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.is_refused.store(true, Ordering::Relaxed);
                }
                Err(_) => {}
            }
        }
    }
}

impl Session {
    /// Starts to pass answers on through `listener`.
    fn start(
        flow: Flow,
        listener: &Arc<UdpSocket>,
        client: SocketAddr,
        permit: Permit,
        relay: &Arc<Relay>,
    ) -> Self {
        let flow = Arc::new(flow);
        let answers = Arc::clone(&flow).pass_answers(Arc::clone(listener), client, Arc::clone(relay));
        Self { flow, sent: 0, answers: tokio::spawn(answers), _permit: permit }
    }

    fn endpoint(&self) -> SocketAddr {
        self.flow.endpoint
    }

    /// Sends a datagram to the endpoint. Returns whether it was sent, or lost; not if the endpoint refused an earlier one.
    fn send(&mut self, datagram: &[u8], now: u64) -> bool {
        if self.flow.is_refused.load(Ordering::Relaxed) {
            return false;
        }
        self.sent = self.sent.saturating_add(1);
        let sent = SockRef::from(&self.flow.socket).send(datagram);
        self.flow.last.store(now, Ordering::Relaxed);
        !sent.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Whether its client has sent a single datagram.
    fn is_single(&self) -> bool {
        self.sent <= 1
    }

    fn idle(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.flow.last.load(Ordering::Relaxed)))
    }

    /// Whether it has been idle for too long.
    fn is_over(&self, now: u64, options: &Options) -> bool {
        let timeout = if self.is_single() {
            options.udp_single_timeout.min(options.udp_timeout)
        } else {
            options.udp_timeout
        };
        self.idle(now) >= timeout
    }

    /// Whether it may make space for another client.
    fn may_be_evicted(&self, now: u64, options: &Options) -> bool {
        self.is_single() || self.idle(now) >= options.udp_single_timeout
    }

    /// Ends it, and returns when its socket is closed.
    async fn end(mut self) {
        self.answers.abort();
        // The error says that it was aborted.
        let _ = (&mut self.answers).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

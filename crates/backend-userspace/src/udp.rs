//! Datagrams: a session for each client, remembered for a while.
//!
//! A place has one socket that all clients send to, and that all answers leave by, so that they come from the
//! address that was asked. Each client has a socket of its own towards its endpoint; by that socket the
//! kernel tells whose answer it is. Like connection tracking, a session with a single datagram is forgotten
//! soon and one that went on stays longer.
//!
//! What cannot be sent at once is lost, as datagrams may be: waiting would let one client hold up others.
//!
//! Whoever can pretend to be many clients can begin many sessions. When there are too many, those that were used once
//! or are silent for longest make way for new ones of their place (`order`); those in use stay.

mod batch;
mod order;
mod session;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_core::IpFamily;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::balancer::Known;
use crate::hops::Hops;
use crate::limits::{self, Full, Limit, Unreached};
use crate::listen::Transport;
use crate::site::Site;

use batch::{BATCH, Batch};
use order::Order;
use session::{Sending, Session, Way};

/// How often sessions are looked through for old ones.
const SWEEP: Duration = Duration::from_secs(1);
/// How many batches are taken before others on this thread get their turn.
const BATCHES: usize = 16;

/// Relays until told to stop; then all sessions end.
pub(crate) async fn serve(socket: Arc<UdpSocket>, site: Arc<Site>, mut stop: oneshot::Receiver<()>) {
    let mut known = site.balancer.subscribe();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut place = Place { socket, site, sessions: HashMap::new(), order: Order::default() };
    loop {
        tokio::select! {
            _ = &mut stop => break,
            ready = place.socket.readable() => match ready {
                Ok(()) => place.forward_waiting(),
                Err(_) => break,
            },
            _ = known.changed() => {
                let known = Arc::clone(&known.borrow_and_update());
                place.keep_only(&known);
            }
            _ = sweep.tick(), if !place.sessions.is_empty() => place.forget_old(),
        }
    }
    for (_, session) in place.sessions.drain() {
        session.end().await;
    }
}

/// One socket and the clients that send to it.
struct Place {
    socket: Arc<UdpSocket>,
    site: Arc<Site>,
    sessions: HashMap<SocketAddr, Session>,
    order: Order,
}

impl Place {
    /// Takes what has come in and passes it on.
    fn forward_waiting(&mut self) {
        let family = IpFamily::of(self.site.address.ip());
        for _ in 0..BATCHES {
            let is_empty = BATCH.with_borrow_mut(|batch| {
                let socket = Arc::clone(&self.socket);
                // An error is no more than late news of an answer that a client did not want.
                let received = socket.try_io(Interest::READABLE, || batch.receive(&socket, family));
                if received.is_ok() {
                    self.forward(batch);
                }
                received.is_err()
            });
            if is_empty {
                return;
            }
        }
    }

    fn forward(&mut self, batch: &mut Batch) {
        let mut at = 0;
        while let Some(client) = batch.sender(at) {
            let end = batch.end_of_run(at);
            self.forward_run(client, batch, at..end);
            at = end;
        }
    }

    /// Passes on what one client sent. An endpoint that does not listen any more says so only when it is
    /// sent to again; the datagrams then go to another.
    fn forward_run(&mut self, client: SocketAddr, batch: &mut Batch, mut run: Range<usize>) {
        let mut failed = Vec::new();
        loop {
            if let Some(session) = self.sessions.get_mut(&client) {
                match session.send(batch, run.clone(), self.site.relay.clock()) {
                    Sending::Done => return,
                    Sending::Refused(endpoint, next) => {
                        failed.push(endpoint);
                        run.start = next;
                        self.sessions.remove(&client);
                    }
                }
            }
            let Some(hops) = batch.hops(run.start) else { return };
            let Some(session) = self.begin(client, hops, &mut failed) else { return };
            self.sessions.insert(client, session);
        }
    }

    /// Begins a session, where the client may have one.
    fn begin(&mut self, client: SocketAddr, hops: Hops, failed: &mut Vec<SocketAddr>) -> Option<Session> {
        if !self.site.admits(client.ip()) {
            self.site.relay.limits.counters().count_turned_away();
            return None;
        }
        let permit = self.admit(client.ip())?;
        let left = hops.after_one().ok_or(Unreached::NoEndpoint);
        let way = left.and_then(|left| self.reach(client, left, failed));
        let way = way.map_err(|why| self.site.relay.limits.give_up(why)).ok()?;
        let ticket = self.order.begin(&self.sessions, client, self.site.relay.clock());
        Some(Session::new(way, &self.socket, client, permit, ticket, &self.site.relay))
    }

    /// A place for one more session, if need be that of one here which nobody seems to use.
    fn admit(&mut self, client: IpAddr) -> Option<limits::Session> {
        let site = Arc::clone(&self.site);
        let (limits, share) = (&site.relay.limits, site.balancer.share());
        let full = match limits.admit(Transport::Udp, share, client) {
            Ok(permit) => return Some(permit),
            Err(full) => full,
        };
        // Who has too many alone makes no others go.
        let again = (!matches!(full, Full::Client(_)) && self.evict())
            .then(|| limits.admit(Transport::Udp, share, client).ok())
            .flatten();
        if again.is_none() {
            limits.refuse(full, share, client);
        }
        again
    }

    /// Ends a session that nobody seems to use.
    fn evict(&mut self) -> bool {
        let Some(client) = self.order.take_silent(&self.sessions) else { return false };
        self.site.relay.limits.counters().count_evicted();
        self.sessions.remove(&client).is_some()
    }

    /// The way to the endpoint whose turn it is, or to the next ones where there is none.
    fn reach(&self, client: SocketAddr, hops: Hops, failed: &mut Vec<SocketAddr>) -> Result<Way, Unreached> {
        let (site, ip) = (&self.site, client.ip());
        let origin = site.origin(ip);
        loop {
            let endpoint = site.balancer.choose(ip, site.via, origin, failed, Instant::now());
            let endpoint = endpoint.ok_or(Unreached::NoEndpoint)?;
            if !site.surroundings.is_served(endpoint, Transport::Udp) {
                match Way::open(endpoint, hops, site.relay.clock()) {
                    Ok(way) => return Ok(way),
                    Err(error) => {
                        if let Some(limit) = Limit::of_descriptors(&error) {
                            return Err(Unreached::NoDescriptor(limit));
                        }
                        debug!("{} did not get {client} to {endpoint}: {error}", site.balancer.name());
                    }
                }
            }
            failed.push(endpoint);
        }
    }

    /// Ends sessions with endpoints that may no longer be used.
    fn keep_only(&mut self, known: &Known) {
        self.sessions.retain(|_, session| known.keeps(session.endpoint()));
    }

    /// Ends sessions that nothing has been heard of for long.
    fn forget_old(&mut self) {
        let (now, timeouts) = (self.site.relay.clock(), self.site.relay.udp_timeouts);
        self.sessions.retain(|_, session| !session.is_over(now, timeouts));
    }
}

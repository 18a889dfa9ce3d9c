//! Datagrams: a session for each client, remembered for a while.
//!
//! A place has one socket that all clients send to, and that all answers leave by, so that they come from the
//! address that was asked. Each client has a socket of its own towards its endpoint; by that socket the
//! kernel tells whose answer it is. Like connection tracking, a session with a single datagram is forgotten
//! soon and one that went on stays longer.
//!
//! What cannot be sent at once is lost, as datagrams may be: waiting would let one client hold up others.

mod batch;
mod session;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::balancer::Known;
use crate::listen::Transport;
use crate::site::Site;

use batch::{BATCH, Batch};
use session::{Sending, Session};

/// How often sessions are looked through for old ones.
const SWEEP: Duration = Duration::from_secs(1);
/// How many batches are taken before others on this thread get their turn.
const BATCHES: usize = 16;

/// Relays until told to stop; then all sessions end.
pub(crate) async fn serve(socket: Arc<UdpSocket>, site: Arc<Site>, mut stop: oneshot::Receiver<()>) {
    let mut known = site.balancer.subscribe();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut place = Place { socket, site, sessions: HashMap::new() };
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
}

impl Place {
    /// Takes what has come in and passes it on.
    fn forward_waiting(&mut self) {
        for _ in 0..BATCHES {
            let is_empty = BATCH.with_borrow_mut(|batch| {
                let socket = Arc::clone(&self.socket);
                // An error is no more than late news of an answer that a client did not want.
                let received = socket.try_io(Interest::READABLE, || batch.receive(&socket));
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
    fn forward_run(&mut self, client: SocketAddr, batch: &mut Batch, run: std::ops::Range<usize>) {
        let mut failed = Vec::new();
        loop {
            if let Some(session) = self.sessions.get_mut(&client) {
                match session.send(batch, run.clone(), self.site.relay.clock()) {
                    Sending::Done => return,
                    Sending::Refused(endpoint) => {
                        failed.push(endpoint);
                        self.sessions.remove(&client);
                    }
                }
            }
            let Some(session) = self.begin(client, &failed) else { return };
            self.sessions.insert(client, session);
        }
    }

    /// Begins a session, where the client may have one.
    fn begin(&self, client: SocketAddr, failed: &[SocketAddr]) -> Option<Session> {
        let (site, ip) = (&self.site, client.ip());
        if !site.admits(ip) {
            site.relay.limits.counters().count_turned_away();
            return None;
        }
        let origin = site.origin(ip);
        let Some(endpoint) = site.balancer.choose(ip, site.via, origin, failed, Instant::now()) else {
            site.relay.limits.counters().count_failed();
            return None;
        };
        if site.surroundings.is_served(endpoint, Transport::Udp) {
            site.relay.limits.counters().count_failed();
            return None;
        }
        let permit = site.relay.limits.admit_udp()?;
        Session::begin(&self.socket, client, endpoint, permit, &site.relay)
            .inspect_err(|error| {
                debug!("{} did not get {client} to {endpoint}: {error}", site.balancer.name());
                site.relay.limits.counters().count_failed();
            })
            .ok()
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

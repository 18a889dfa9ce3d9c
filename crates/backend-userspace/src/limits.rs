//! How much more may be relayed, and for whom.
//!
//! Listeners and sessions use up the process's file descriptors and, for UDP, the host's ports. Neither one Service nor one
//! client may take them all: as long as a Service has less than three times what is free it gets more, and so does
//! a client of what its Service may still get. The busiest alone so comes to three quarters, two of them to three
//! sevenths each, and something is always left for who comes next, without a number that anybody has to choose
//! (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).
//!
//! Listeners have no more than half of what sessions and listeners have together, and a Service takes its part of that in
//! the same way. A part of all descriptors is for neither of them, but for the proxy's own needs.
//!
//! Holds: what was admitted is counted until its [`Session`] or [`Listener`] is dropped, by its Service and its client too.

mod host;
mod limit;
mod share;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use portolan_core::{ObjectName, ServicePortName};
use tracing::warn;

use crate::counters::Counters;
use crate::listen::Transport;
use crate::quiet::Quiet;

pub(crate) use limit::Limit;
pub(crate) use share::{Listener, Session, Share};

/// What a TCP connection takes: its own socket and the endpoint's.
const TCP_DESCRIPTORS: usize = 2;
/// What a UDP session takes: the endpoint's socket. The client's is the listener.
const UDP_DESCRIPTORS: usize = 1;
/// How many times what is free somebody may have.
const SHARE: usize = 3;

/// Who gets no session, and what there are too few of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Nobody gets one.
    Process(Limit),
    /// This Service has all that it may have; what is free, if anything is, is for other Services.
    Service(Limit),
    /// What is free is for other clients.
    Client(Limit),
}

/// Why a session that there was a place for does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// No endpoint takes it.
    NoEndpoint,
    /// There is no file descriptor for its endpoint, in spite of all counting.
    NoDescriptor(Limit),
}

/// What is free, and the limit that has the least.
#[derive(Debug, Clone, Copy)]
struct Free {
    sessions: usize,
    limit: Limit,
}

impl Free {
    /// This, or less where another limit has less.
    fn or_less(self, sessions: usize, limit: Limit) -> Self {
        if sessions < self.sessions { Self { sessions, limit } } else { self }
    }
}

/// Says how many sessions there may be, and counts them.
#[derive(Debug)]
pub(crate) struct Limits {
    counters: Arc<Counters>,
    most_sessions: usize,
    most_of_service: usize,
    most_descriptors: AtomicUsize,
    most_listeners: AtomicUsize,
    most_udp: usize,
    most_pipes: usize,
    shares: Mutex<HashMap<ObjectName, Weak<Share>>>,
    complaints: Complaints,
}

/// What was said of late. Each is said apart from the others: one limit must not keep another from being told.
#[derive(Debug, Default)]
struct Complaints {
    sessions: Quiet,
    descriptors: Quiet,
    ports: Quiet,
    accepting: Quiet,
}

impl Limits {
    /// At most so many sessions in all and for each Service (no limits of their own when zero), and no more than the
    /// descriptors and ports allow.
    pub(crate) fn new(counters: Arc<Counters>, most_sessions: usize, most_of_service: usize) -> Self {
        let or_any = |most| if most == 0 { usize::MAX } else { most };
        host::raise_open_files();
        let descriptors = host::descriptors();
        Self {
            counters,
            most_sessions: or_any(most_sessions),
            most_of_service: or_any(most_of_service),
            most_descriptors: descriptors.for_clients.into(),
            most_listeners: descriptors.listeners.into(),
            most_udp: host::ports() / 2,
            most_pipes: descriptors.pipes / 2,
            shares: Mutex::default(),
            complaints: Complaints::default(),
        }
    }

    /// How many pipes may be open besides.
    pub(crate) fn most_pipes(&self) -> usize {
        self.most_pipes
    }

    /// What the ports of a Service have together, in both families.
    pub(crate) fn share(&self, service: &ObjectName) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(service).and_then(Weak::upgrade) {
            return share;
        }
        // Those of Services that are gone go whenever the table would have to grow.
        if shares.len() == shares.capacity() {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Share::new(service.clone()));
        shares.insert(service.clone(), Arc::downgrade(&share));
        share
    }

    /// A place for one more TCP connection or UDP client, if there is one.
    pub(crate) fn admit(
        &self,
        transport: Transport,
        share: &Arc<Share>,
        client: IpAddr,
    ) -> Result<Session, Full> {
        let free = self.free(transport);
        let of_service = self.most_of_service.saturating_sub(share.sessions());
        let mut held = share.held(transport);
        let for_service = Free { sessions: of_service, limit: Limit::OfService }
            .or_less(room(held.sessions(), free.sessions), free.limit);
        let for_client = for_service.or_less(free.sessions, free.limit);
        if free.sessions == 0 {
            Err(Full::Process(free.limit))
        } else if for_service.sessions == 0 {
            Err(Full::Service(for_service.limit))
        } else if room(held.sessions_of(client), for_client.sessions) == 0 {
            Err(Full::Client(for_client.limit))
        } else {
            held.add(client);
            drop(held);
            self.counters.sessions(transport).fetch_add(1, Ordering::Relaxed);
            self.counters.count_accepted();
            Ok(Session::new(Arc::clone(&self.counters), Arc::clone(share), transport, client))
        }
    }

    /// A place for one more listener of a Service.
    ///
    /// # Errors
    /// There is none, because of this limit.
    pub(crate) fn admit_listener(&self, share: &Arc<Share>) -> Result<Listener, Limit> {
        let most = self.most_listeners.load(Ordering::Relaxed);
        let free = most.saturating_sub(self.counters.listeners()).min(self.free_descriptors());
        if is_fair(share.listeners(), free) {
            Ok(Listener::new(Arc::clone(&self.counters), Arc::clone(share)))
        } else {
            Err(Limit::Descriptors)
        }
    }

    /// The limit of open files may have been moved.
    pub(crate) fn look_again(&self) {
        let descriptors = host::descriptors();
        self.most_descriptors.store(descriptors.for_clients, Ordering::Relaxed);
        self.most_listeners.store(descriptors.listeners, Ordering::Relaxed);
    }

    /// How many more descriptors sessions and listeners may have.
    fn free_descriptors(&self) -> usize {
        let (tcp, udp) = (self.counters.tcp_sessions(), self.counters.udp_sessions());
        let used = TCP_DESCRIPTORS * tcp + UDP_DESCRIPTORS * udp + self.counters.listeners();
        self.most_descriptors.load(Ordering::Relaxed).saturating_sub(used)
    }

    /// How many more sessions there may be, whoever asks.
    fn free(&self, transport: Transport) -> Free {
        let (tcp, udp) = (self.counters.tcp_sessions(), self.counters.udp_sessions());
        let by_descriptors = self.free_descriptors() / TCP_DESCRIPTORS;
        let by_number = self.most_sessions.saturating_sub(tcp + udp);
        let free =
            Free { sessions: by_descriptors, limit: Limit::Descriptors }.or_less(by_number, Limit::Sessions);
        match transport {
            Transport::Tcp => free,
            Transport::Udp => free.or_less(self.most_udp.saturating_sub(udp), Limit::Ports),
        }
    }

    /// Counts a session that there was no place for, and says so now and then.
    pub(crate) fn refuse(&self, full: Full, share: &Share, client: IpAddr) {
        const NEAR: &str = "near, what is left is for others";
        self.counters.count_refused(!matches!(full, Full::Process(_)));
        let service = share.service();
        let has = share.sessions();
        match full {
            Full::Process(limit) => self.complain(limit),
            Full::Service(limit) if share.is_complaint_due() => {
                let how = if limit == Limit::OfService { "reached" } else { NEAR };
                warn!(%service, has, "the Service gets no more sessions: the limit of {limit} is {how}");
            }
            Full::Client(limit) if share.is_client_complaint_due() => {
                warn!(%service, has, %client, "the client gets no more sessions: the limit of {limit} is {NEAR}");
            }
            Full::Service(_) | Full::Client(_) => {}
        }
    }

    /// Says which limit keeps everybody from more sessions, and how many there are.
    fn complain(&self, limit: Limit) {
        let complaint = match limit {
            Limit::Sessions | Limit::OfService => &self.complaints.sessions,
            Limit::Descriptors | Limit::HostDescriptors => &self.complaints.descriptors,
            Limit::Ports => &self.complaints.ports,
        };
        if complaint.is_due() {
            let (tcp, udp) = (self.counters.tcp_sessions(), self.counters.udp_sessions());
            warn!(tcp, udp, "no more sessions are taken: the limit of {limit} is reached");
        }
    }

    /// Counts a session that does not begin, and says so if that is for want of descriptors.
    pub(crate) fn give_up(&self, why: Unreached) {
        match why {
            Unreached::NoEndpoint => self.counters.count_failed(),
            Unreached::NoDescriptor(limit) => {
                self.counters.count_refused(false);
                self.complain(limit);
            }
        }
    }

    /// A connection waits that cannot be accepted. It is tried again, so nobody is refused by that.
    pub(crate) fn not_accepted(&self, service: &ServicePortName, error: &io::Error) {
        match Limit::of_descriptors(error) {
            Some(limit) => self.complain(limit),
            None if self.complaints.accepting.is_due() => {
                warn!("connections to {service} wait: they cannot be accepted: {error}");
            }
            None => {}
        }
    }

    /// The numbers.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// Whether somebody may have one more who has so many already, while so many are free.
pub(crate) fn is_fair(used: usize, free: usize) -> bool {
    room(used, free) > 0
}

/// How many more somebody may have who has so many already, while so many are free.
fn room(used: usize, free: usize) -> usize {
    free.saturating_mul(SHARE).saturating_sub(used)
}

#[cfg(test)]
mod tests;

//! How much more may be relayed, and for whom.
//!
//! Sessions use up the process's file descriptors and, for UDP, the host's ports. Neither one Service nor one
//! client may take them all: as long as a Service has less than three times what is free it gets more, and so does
//! a client of what its Service may still get. The busiest alone so comes to three quarters, two of them to three
//! sevenths each, and something is always left for who comes next, without a number that anybody has to choose
//! (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).
//!
//! Holds: what was admitted is counted until its [`Session`] is dropped, by its Service and its client too.

mod host;
mod share;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use portolan_core::ObjectName;
use tracing::warn;

use crate::counters::Counters;
use crate::listen::Transport;
use crate::quiet::Quiet;

pub(crate) use share::{Session, Share};

/// What a TCP connection takes: its own socket and the endpoint's.
const TCP_DESCRIPTORS: usize = 2;
/// What a UDP session takes: the endpoint's socket. The client's is the listener.
const UDP_DESCRIPTORS: usize = 1;
/// How many times what is free somebody may have.
const SHARE: usize = 3;

/// Why there is no place for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Nobody gets one.
    Process,
    /// What is free is for other Services.
    Service,
    /// What is free is for other clients.
    Client,
}

/// Says how many sessions there may be, and counts them.
#[derive(Debug)]
pub(crate) struct Limits {
    counters: Arc<Counters>,
    most_sessions: usize,
    most_of_service: usize,
    most_descriptors: usize,
    most_udp: usize,
    most_pipes: usize,
    shares: Mutex<HashMap<ObjectName, Weak<Share>>>,
    complaint: Quiet,
}

impl Limits {
    /// At most so many sessions in all and for each Service (no limits of their own when zero), and no more than the
    /// descriptors and ports allow.
    pub(crate) fn new(counters: Arc<Counters>, most_sessions: usize, most_of_service: usize) -> Self {
        let or_any = |most| if most == 0 { usize::MAX } else { most };
        let descriptors = host::descriptors();
        Self {
            counters,
            most_sessions: or_any(most_sessions),
            most_of_service: or_any(most_of_service),
            most_descriptors: descriptors.of_sessions,
            most_udp: host::ports() / 2,
            most_pipes: descriptors.of_pipes / 2,
            shares: Mutex::default(),
            complaint: Quiet::default(),
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
        let for_service = room(held.sessions(), free).min(of_service);
        if free == 0 {
            Err(Full::Process)
        } else if for_service == 0 {
            Err(Full::Service)
        } else if room(held.sessions_of(client), for_service.min(free)) == 0 {
            Err(Full::Client)
        } else {
            held.add(client);
            drop(held);
            self.counters.sessions(transport).fetch_add(1, Ordering::Relaxed);
            self.counters.count_accepted();
            Ok(Session::new(Arc::clone(&self.counters), Arc::clone(share), transport, client))
        }
    }

    /// How many more sessions there may be, whoever asks.
    fn free(&self, transport: Transport) -> usize {
        let (tcp, udp) = (self.counters.tcp_sessions(), self.counters.udp_sessions());
        let used = TCP_DESCRIPTORS * tcp + UDP_DESCRIPTORS * udp + self.counters.listeners();
        let by_descriptors = self.most_descriptors.saturating_sub(used) / TCP_DESCRIPTORS;
        let by_number = self.most_sessions.saturating_sub(tcp + udp).min(by_descriptors);
        match transport {
            Transport::Tcp => by_number,
            Transport::Udp => by_number.min(self.most_udp.saturating_sub(udp)),
        }
    }

    /// Counts a session that there was no place for, and says so now and then.
    pub(crate) fn refuse(&self, full: Full, share: &Share, client: IpAddr) {
        self.counters.count_refused(full != Full::Process);
        let service = share.service();
        let has = share.sessions();
        match full {
            Full::Process => self.complain(),
            Full::Service if share.is_complaint_due() => {
                warn!(%service, has, "the Service gets no more sessions, what is left is for others");
            }
            Full::Client if share.is_complaint_due() => {
                warn!(%service, has, %client, "the client gets no more sessions, what is left is for others");
            }
            Full::Service | Full::Client => {}
        }
    }

    fn complain(&self) {
        if self.complaint.is_due() {
            let (tcp, udp) = (self.counters.tcp_sessions(), self.counters.udp_sessions());
            let Self { most_sessions, most_descriptors, most_udp, .. } = *self;
            warn!(
                tcp,
                udp,
                most_sessions,
                most_descriptors,
                most_udp,
                "no more sessions are taken: raise the limit of open files (RLIMIT_NOFILE)"
            );
        }
    }

    /// The process ran out of descriptors in spite of all counting.
    pub(crate) fn out_of_descriptors(&self) {
        self.counters.count_refused(false);
        self.complain();
    }

    /// There were no descriptors for sockets at so many places.
    pub(crate) fn no_place_for_listeners(&self, places: usize) {
        if self.complaint.is_due() {
            warn!(places, "not all services are served: raise the limit of open files (RLIMIT_NOFILE)");
        }
    }

    /// The numbers.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// How many more somebody may have who has so many already, while so many are free.
fn room(used: usize, free: usize) -> usize {
    free.saturating_mul(SHARE).saturating_sub(used)
}

#[cfg(test)]
mod tests;

//! What this mode is doing, in numbers, and how much more it may do.
//!
//! A session is a TCP connection or a UDP client that are being relayed. Both families count together:
//! what they use up is the process's file descriptors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portolan_core::backend::{Figure, FigureKind};
use tracing::{info, warn};

use crate::quiet::Quiet;

/// What a TCP connection takes: its own socket and the endpoint's.
pub(crate) const TCP_DESCRIPTORS: usize = 2;
/// What a UDP session takes: the endpoint's socket. The client's is the listener.
pub(crate) const UDP_DESCRIPTORS: usize = 1;

/// Numbers for metrics. Cheap to read at any time.
#[derive(Debug, Default)]
pub struct Counters {
    tcp_sessions: AtomicUsize,
    udp_sessions: AtomicUsize,
    listeners: AtomicUsize,
    unserved: AtomicUsize,
    accepted: AtomicU64,
    refused_by_limit: AtomicU64,
    turned_away: AtomicU64,
    failed: AtomicU64,
}

macro_rules! readings {
    ($($(#[$doc:meta])* $name:ident: $number:ty;)*) => {
        impl Counters {
            $($(#[$doc])* pub fn $name(&self) -> $number {
                self.$name.load(Ordering::Relaxed)
            })*
        }
    };
}

readings! {
    /// TCP connections that are relayed now.
    tcp_sessions: usize;
    /// UDP clients that are relayed now.
    udp_sessions: usize;
    /// Sockets at service addresses and node ports, now.
    listeners: usize;
    /// Addresses and ports that should be served and are not, because somebody else has the port or the
    /// address is not this node's. They are tried again all the time.
    unserved: usize;
    /// Sessions that were begun so far.
    accepted: u64;
    /// Sessions that were not begun because there were too many already.
    refused_by_limit: u64;
    /// Connections that were reset because source ranges or a Local policy forbid them, where the packet
    /// filter had not dropped them before.
    turned_away: u64;
    /// Sessions that ended before they began because no endpoint took them.
    failed: u64;
}

impl Counters {
    /// All of them, as the proxy shows them with its metrics.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let current = |what, value: usize| {
            let value = u64::try_from(value).unwrap_or(u64::MAX);
            Figure { what, kind: FigureKind::Current, value }
        };
        let total = |what, value| Figure { what, kind: FigureKind::Total, value };
        vec![
            current("tcp_sessions", self.tcp_sessions()),
            current("udp_sessions", self.udp_sessions()),
            current("listeners", self.listeners()),
            current("unserved", self.unserved()),
            total("sessions", self.accepted()),
            total("refused_by_limit", self.refused_by_limit()),
            total("turned_away", self.turned_away()),
            total("failed", self.failed()),
        ]
    }

    pub(crate) fn count_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn listener_opened(&self) {
        self.listeners.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn listener_closed(&self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of failed frontends of one family changed.
    pub(crate) fn unserved_changed(&self, from: usize, to: usize) {
        self.unserved.fetch_add(to, Ordering::Relaxed);
        self.unserved.fetch_sub(from, Ordering::Relaxed);
    }
}

/// Says how many sessions there may be, and counts them.
#[derive(Debug)]
pub(crate) struct Limits {
    counters: Arc<Counters>,
    most_sessions: usize,
    most_descriptors: usize,
    complaint: Quiet,
}

impl Limits {
    /// At most so many sessions (no limit of their own when zero), and no more than the descriptors allow.
    pub(crate) fn new(counters: Arc<Counters>, most_sessions: usize) -> Self {
        let most_sessions = if most_sessions == 0 { usize::MAX } else { most_sessions };
        Self { counters, most_sessions, most_descriptors: descriptors(), complaint: Quiet::default() }
    }

    /// A place for one more TCP connection, if there is one.
    pub(crate) fn admit_tcp(&self) -> Option<Session> {
        self.admit(Kind::Tcp)
    }

    /// A place for one more UDP client, if there is one.
    pub(crate) fn admit_udp(&self) -> Option<Session> {
        self.admit(Kind::Udp)
    }

    fn admit(&self, kind: Kind) -> Option<Session> {
        let counters = &self.counters;
        let (tcp, udp) = (counters.tcp_sessions(), counters.udp_sessions());
        let used = TCP_DESCRIPTORS * tcp + UDP_DESCRIPTORS * udp + counters.listeners();
        if tcp + udp >= self.most_sessions || used + TCP_DESCRIPTORS > self.most_descriptors {
            self.refuse(tcp, udp);
            return None;
        }
        kind.sessions(counters).fetch_add(1, Ordering::Relaxed);
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Session { counters: Arc::clone(counters), kind })
    }

    /// Counts a session that there was no place for.
    fn refuse(&self, tcp: usize, udp: usize) {
        self.counters.refused_by_limit.fetch_add(1, Ordering::Relaxed);
        if self.complaint.is_due() {
            let (most_sessions, most_descriptors) = (self.most_sessions, self.most_descriptors);
            warn!(
                tcp,
                udp,
                most_sessions,
                most_descriptors,
                "no more sessions are taken: raise the limit of open files (RLIMIT_NOFILE)"
            );
        }
    }

    /// The process ran out of descriptors in spite of all counting.
    pub(crate) fn out_of_descriptors(&self) {
        self.refuse(self.counters.tcp_sessions(), self.counters.udp_sessions());
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

#[derive(Debug, Clone, Copy)]
enum Kind {
    Tcp,
    Udp,
}

impl Kind {
    fn sessions(self, counters: &Counters) -> &AtomicUsize {
        match self {
            Self::Tcp => &counters.tcp_sessions,
            Self::Udp => &counters.udp_sessions,
        }
    }
}

/// One session's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    counters: Arc<Counters>,
    kind: Kind,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.kind.sessions(&self.counters).fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many descriptors sessions and listeners may take: nine of ten that the process may have, having
/// asked for as many as it may ask for. The rest is for pipes and everything else.
fn descriptors() -> usize {
    /// What a process has that cannot tell; the usual soft limit.
    const USUAL: u64 = 1024;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((USUAL, USUAL));
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        info!(from = soft, to = hard, "the limit of open files is raised");
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((USUAL, USUAL));
    usize::try_from(limit / 10 * 9).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_beyond_the_limit_are_refused_until_one_ends() {
        let limits = Limits::new(Arc::default(), 2);
        let (first, _second) = (limits.admit_tcp().unwrap(), limits.admit_udp().unwrap());
        assert!(limits.admit_tcp().is_none());
        assert!(limits.admit_udp().is_none());
        assert_eq!(limits.counters().refused_by_limit(), 2);
        drop(first);
        assert!(limits.admit_udp().is_some());
        assert_eq!(limits.counters().accepted(), 3);
        assert_eq!((limits.counters().tcp_sessions(), limits.counters().udp_sessions()), (0, 1));
    }

    #[test]
    fn sessions_end_where_descriptors_do() {
        let limits = Limits { most_descriptors: 5, ..Limits::new(Arc::default(), 0) };
        limits.counters().listener_opened();
        let both = (limits.admit_tcp(), limits.admit_tcp());
        assert!(both.0.is_some() && both.1.is_some());
        assert!(limits.admit_udp().is_none());
    }
}

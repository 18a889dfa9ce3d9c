//! What this mode is doing, in numbers.
//!
//! A session is a TCP connection or a UDP client that are being relayed. Both families count together:
//! what they use up is the process's file descriptors.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use portolan_core::backend::Metric;

use crate::listen::Transport;

/// Numbers for metrics. Cheap to read at any time.
#[derive(Debug, Default)]
pub struct Counters {
    tcp_sessions: AtomicUsize,
    udp_sessions: AtomicUsize,
    listeners: AtomicUsize,
    unserved: AtomicUsize,
    unsupported: AtomicUsize,
    accepted: AtomicU64,
    refused_by_limit: AtomicU64,
    refused_by_share: AtomicU64,
    evicted: AtomicU64,
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
    /// Service ports that are not served because this mode has no SCTP.
    unsupported: usize;
    /// Sessions that were begun so far.
    accepted: u64;
    /// Sessions that were not begun because there were too many already.
    refused_by_limit: u64;
    /// Those among them for which there were places, but for other Services or clients.
    refused_by_share: u64;
    /// Sessions of UDP clients that had been silent, which made way for others when there were too many.
    evicted: u64;
    /// Connections that were reset because source ranges or a Local policy forbid them, where the packet
    /// filter had not dropped them before.
    turned_away: u64;
    /// Sessions that ended before they began because no endpoint took them.
    failed: u64;
}

impl Counters {
    /// All of them, as the proxy shows them with its metrics.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let current = |what: &'static str, value: usize| {
            let value = u64::try_from(value).unwrap_or(u64::MAX);
            Metric::gauge("portolan_mode_current", value).with_label("what", what)
        };
        let total =
            |what: &'static str, value| Metric::total("portolan_mode_total", value).with_label("what", what);
        vec![
            current("tcp_sessions", self.tcp_sessions()),
            current("udp_sessions", self.udp_sessions()),
            current("listeners", self.listeners()),
            current("unserved", self.unserved()),
            current("unsupported", self.unsupported()),
            total("sessions", self.accepted()),
            total("refused_by_limit", self.refused_by_limit()),
            total("refused_by_share", self.refused_by_share()),
            total("evicted", self.evicted()),
            total("turned_away", self.turned_away()),
            total("failed", self.failed()),
        ]
    }

    /// Sessions of one protocol.
    pub(crate) fn sessions(&self, transport: Transport) -> &AtomicUsize {
        match transport {
            Transport::Tcp => &self.tcp_sessions,
            Transport::Udp => &self.udp_sessions,
        }
    }

    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// There was no place for a session, or only for somebody else's.
    pub(crate) fn count_refused(&self, is_for_others: bool) {
        self.refused_by_limit.fetch_add(1, Ordering::Relaxed);
        self.refused_by_share.fetch_add(u64::from(is_for_others), Ordering::Relaxed);
    }

    pub(crate) fn count_evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
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

    pub(crate) fn set_unsupported(&self, ports: usize) {
        self.unsupported.store(ports, Ordering::Relaxed);
    }

    /// The number of failed frontends of one family changed.
    pub(crate) fn unserved_changed(&self, from: usize, to: usize) {
        self.unserved.fetch_add(to, Ordering::Relaxed);
        self.unserved.fetch_sub(from, Ordering::Relaxed);
    }
}

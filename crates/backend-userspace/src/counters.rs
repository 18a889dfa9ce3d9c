//! Metrics of this mode.
//!
//! A session is a TCP connection or a UDP client that is relayed. Both IP families count together, since they share the
//! file descriptors of the process.

use std::sync::atomic::{AtomicUsize, Ordering};

use portolan_core::backend::Metric;

/// A number that is read and changed without a lock.
#[derive(Debug, Default)]
pub struct Count(AtomicUsize);

impl Count {
    /// The value now.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The counts of both IP families.
#[derive(Debug, Default)]
pub struct Counters {
    /// TCP connections that are relayed now.
    pub tcp_sessions: Count,
    /// UDP clients that are relayed now.
    pub udp_sessions: Count,
    /// Open sockets at service addresses and node ports.
    pub listeners: Count,
    /// Addresses and ports that should be served and are not, for example because another program has the port. They are
    /// retried until they are served.
    pub unserved: Count,
    /// Service ports that are not served because this mode does not support SCTP.
    pub unsupported: Count,
    /// Sessions that were started so far.
    pub accepted: Count,
    /// Sessions that were rejected because a limit was reached.
    pub refused_by_limit: Count,
    /// The part of `refused_by_limit` that was rejected by the limit of one Service.
    pub refused_by_share: Count,
    /// Idle UDP sessions that were ended early because a limit was reached.
    pub evicted: Count,
    /// Clients that were rejected by source ranges or a Local policy, where the packet filter had not dropped them.
    pub turned_away: Count,
    /// Sessions that could not be started because no endpoint accepted them.
    pub failed: Count,
}

impl Counters {
    /// All of them under the names that the proxy exports.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let current = [
            ("tcp_sessions", &self.tcp_sessions),
            ("udp_sessions", &self.udp_sessions),
            ("listeners", &self.listeners),
            ("unserved", &self.unserved),
            ("unsupported", &self.unsupported),
        ];
        let total = [
            ("sessions", &self.accepted),
            ("refused_by_limit", &self.refused_by_limit),
            ("refused_by_share", &self.refused_by_share),
            ("evicted", &self.evicted),
            ("turned_away", &self.turned_away),
            ("failed", &self.failed),
        ];
        let current = current.into_iter().map(|(what, count)| {
            Metric::gauge("portolan_mode_current", count.get()).with_label("what", what)
        });
        let total = total
            .into_iter()
            .map(|(what, count)| Metric::total("portolan_mode_total", count.get()).with_label("what", what));
        current.chain(total).collect()
    }
}

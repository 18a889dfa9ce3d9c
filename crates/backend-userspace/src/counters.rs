//! Metrics of this mode.
//!
//! A session is a TCP connection or a UDP client that is relayed. Both IP families count together, since they share the
//! file descriptors of the process.

use std::sync::atomic::{AtomicUsize, Ordering};

use portolan_core::backend::{Figure, FigureKind};

/// A number that is read and changed without a lock.
#[derive(Debug, Default)]
pub struct Metric(AtomicUsize);

impl Metric {
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

/// The metrics of both IP families.
#[derive(Debug, Default)]
pub struct Counters {
    /// TCP connections that are relayed now.
    pub tcp_sessions: Metric,
    /// UDP clients that are relayed now.
    pub udp_sessions: Metric,
    /// Open sockets at service addresses and node ports.
    pub listeners: Metric,
    /// Addresses and ports that should be served and are not, for example because another program has the port. They are
    /// retried until they are served.
    pub unserved: Metric,
    /// Service ports that are not served because this mode does not support SCTP.
    pub unsupported: Metric,
    /// Sessions that were started so far.
    pub accepted: Metric,
    /// Sessions that were rejected because a limit was reached.
    pub refused_by_limit: Metric,
    /// The part of `refused_by_limit` that was rejected by the limit of one Service.
    pub refused_by_share: Metric,
    /// Idle UDP sessions that were ended early because a limit was reached.
    pub evicted: Metric,
    /// Clients that were rejected by source ranges or a Local policy, where the packet filter had not dropped them.
    pub turned_away: Metric,
    /// Sessions that could not be started because no endpoint accepted them.
    pub failed: Metric,
}

impl Counters {
    /// All of them under the names that the proxy exports.
    pub(crate) fn figures(&self) -> Vec<Figure> {
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
        let figure = |kind, (what, metric): (&'static str, &Metric)| Figure {
            what,
            kind,
            value: u64::try_from(metric.get()).unwrap_or(u64::MAX),
        };
        let current = current.into_iter().map(|metric| figure(FigureKind::Current, metric));
        current.chain(total.into_iter().map(|metric| figure(FigureKind::Total, metric))).collect()
    }
}

//! Counters of what a source met.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Objects that could not be read; see [`crate::Malformed`].
    Malformed,
    /// Entries left out of objects; see [`crate::Problem`].
    Problems,
    /// Events passed on.
    Events,
    /// Complete lists passed on, the first ones included.
    Lists,
    /// Watches begun or resumed.
    Watches,
    /// Requests that failed or streams that broke.
    Failures,
    /// Manifest files that could not be read.
    BrokenFiles,
    /// Events of Kubernetes that the API server took.
    EventsSent,
    /// Events that it turned down for good.
    EventsFailed,
    /// Reports that were given up because too many waited.
    EventsDropped,
}

const COUNTS: usize = 10;

/// Counters that only grow, shared between a source and whoever publishes them.
#[derive(Debug, Default)]
pub struct SourceMetrics([AtomicU64; COUNTS]);

impl SourceMetrics {
    /// How often `count` has happened.
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: Count, times: usize) {
        // A counter that is off by a torn order of increments is still right; nothing depends on them.
        self.0[count as usize].fetch_add(times as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_its_own_place() {
        let all = [
            Count::Malformed,
            Count::Problems,
            Count::Events,
            Count::Lists,
            Count::Watches,
            Count::Failures,
            Count::BrokenFiles,
            Count::EventsSent,
            Count::EventsFailed,
            Count::EventsDropped,
        ];
        assert_eq!(all.len(), COUNTS);
        let metrics = SourceMetrics::default();
        for (times, count) in all.into_iter().enumerate() {
            metrics.add(count, times + 1);
        }
        for (times, count) in all.into_iter().enumerate() {
            assert_eq!(metrics.get(count), times as u64 + 1, "{count:?}");
        }
    }
}

//! Counters of what a source met.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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
pub struct SourceMetrics {
    counts: [AtomicU64; COUNTS],
    /// What of `counts` is known to be about one kind of object. There are few of each.
    by_kind: Mutex<BTreeMap<(usize, &'static str), u64>>,
}

impl SourceMetrics {
    /// How often `count` has happened.
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// How often `count` has happened to objects of each kind, such as `EndpointSlice`, as far as
    /// it has. Only what counts as an error is told apart: [`Count::Malformed`],
    /// [`Count::Problems`] and [`Count::Failures`].
    pub fn by_kind(&self, count: Count) -> Vec<(&'static str, u64)> {
        let by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        let those = by_kind.iter().filter(|((of, _), _)| *of == count as usize);
        those.map(|((_, kind), times)| (*kind, *times)).collect()
    }

    pub(crate) fn add(&self, count: Count, times: usize) {
        // A counter that is off by a torn order of increments is still right; nothing depends on them.
        self.counts[count as usize].fetch_add(times as u64, Ordering::Relaxed);
    }

    /// Counts an error with objects of one kind.
    pub(crate) fn add_error(&self, count: Count, kind: &'static str) {
        let mut by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        *by_kind.entry((count as usize, kind)).or_default() += 1;
        self.add(count, 1);
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

    #[test]
    fn errors_are_told_apart_by_kind_and_add_up() {
        let metrics = SourceMetrics::default();
        for kind in ["Service", "Node", "Service"] {
            metrics.add_error(Count::Failures, kind);
        }
        metrics.add_error(Count::Malformed, "Node");
        assert_eq!(metrics.by_kind(Count::Failures), [("Node", 1), ("Service", 2)]);
        assert_eq!(metrics.by_kind(Count::Problems), []);
        assert_eq!((metrics.get(Count::Failures), metrics.get(Count::Malformed)), (3, 1));
    }
}

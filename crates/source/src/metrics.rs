//! Counters of a source.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Objects that could not be read; see `decode::Malformed`.
    Malformed,
    /// Entries left out of objects; see `convert::Problem`.
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
    /// Events of Kubernetes that the API server accepted.
    EventsSent,
    /// Events that it rejected for good.
    EventsFailed,
    /// Reports that were dropped because too many waited.
    EventsDropped,
}

/// Counters that only grow, shared between a source and the metrics endpoint.
#[derive(Debug, Default)]
pub struct SourceMetrics {
    /// By kind of object, which is empty where it does not matter. There are few.
    counts: Mutex<BTreeMap<(Count, &'static str), u64>>,
}

impl SourceMetrics {
    /// The value of `count`.
    pub fn get(&self, count: Count) -> u64 {
        self.values(count).iter().map(|(_, times)| times).sum()
    }

    /// The values of `count` by kind of object, such as `EndpointSlice`, without zeros. Only errors are counted by kind:
    /// [`Count::Malformed`], [`Count::Problems`] and [`Count::Failures`].
    pub fn by_kind(&self, count: Count) -> Vec<(&'static str, u64)> {
        self.values(count).into_iter().filter(|(kind, _)| !kind.is_empty()).collect()
    }

    pub(crate) fn add(&self, count: Count, times: usize) {
        self.add_for(count, "", times as u64);
    }

    /// Counts an error with objects of one kind.
    pub(crate) fn add_error(&self, count: Count, kind: &'static str) {
        self.add_for(count, kind, 1);
    }

    fn add_for(&self, count: Count, kind: &'static str, times: u64) {
        *self.counts().entry((count, kind)).or_default() += times;
    }

    fn values(&self, count: Count) -> Vec<(&'static str, u64)> {
        let counts = self.counts();
        let those = counts.iter().filter(|((of, _), _)| *of == count);
        those.map(|((_, kind), times)| (*kind, *times)).collect()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<(Count, &'static str), u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_independent() {
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
        let metrics = SourceMetrics::default();
        for (times, count) in all.into_iter().enumerate() {
            metrics.add(count, times + 1);
        }
        for (times, count) in all.into_iter().enumerate() {
            assert_eq!(metrics.get(count), times as u64 + 1, "{count:?}");
        }
    }

    #[test]
    fn errors_are_counted_by_kind_and_in_total() {
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

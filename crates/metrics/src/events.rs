//! About the Kubernetes events that the proxy records.

use prometheus::IntCounterVec;

use crate::definition::{Definition, Definitions, MetricsError};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// The API server has it.
    Sent,
    /// The API server would not take it.
    Failed,
    /// Too many others waited.
    Dropped,
}

/// About the Kubernetes events that the proxy records.
#[derive(Clone, Debug)]
pub struct EventMetrics {
    events: IntCounterVec,
}

impl EventMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let events = Definition::alpha(
            "portolan_events_total",
            "Kubernetes events that were recorded, by what became of them (sent, failed, dropped)",
        );
        Ok(Self { events: events.counters(definitions, &["result"])? })
    }

    /// This has become of `total` events since the start. A source counts by itself; this is
    /// called before its numbers are shown, by one thread at a time.
    pub fn reached(&self, result: EventResult, total: u64) {
        let counter = self.events.with_label_values(&[match result {
            EventResult::Sent => "sent",
            EventResult::Failed => "failed",
            EventResult::Dropped => "dropped",
        }]);
        counter.inc_by(total.saturating_sub(counter.get()));
    }
}

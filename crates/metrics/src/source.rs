//! About the watch on the API server, or on a folder.

use prometheus::IntCounterVec;

use crate::definition::{Definition, Definitions, MetricsError};

/// About the watch on the API server, or on a folder.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    errors: IntCounterVec,
}

impl SourceMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let errors = Definition::alpha(
            "portolan_source_errors_total",
            "What kept Services and endpoints from being read, by kind of error",
        );
        Ok(Self { errors: errors.counters(definitions, &["error"])? })
    }

    /// Errors of this kind have happened `total` times since the start. A source counts
    /// by itself; this is called before its numbers are shown, by one thread at a time.
    pub fn errors_reached(&self, kind: &str, total: u64) {
        let counter = self.errors.with_label_values(&[kind]);
        counter.inc_by(total.saturating_sub(counter.get()));
    }
}

//! About the watches.

use prometheus::{IntCounterVec, Registry};

use crate::definition::{Definition, MetricsError};

/// About the watches.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    errors: IntCounterVec,
}

impl SourceMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let errors = Definition {
            name: "portolan_source_errors_total",
            help: "Failures to list, watch or understand objects of one resource",
        };
        Ok(Self { errors: errors.counters(registry, &["resource"])? })
    }

    /// Something went wrong with `resource`, a plural such as `services`.
    pub fn failed(&self, resource: &str) {
        self.errors.with_label_values(&[resource]).inc();
    }
}

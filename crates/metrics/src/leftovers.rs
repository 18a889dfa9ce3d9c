//! About what other modes, and kube-proxy itself, left on this node.

use prometheus::IntCounterVec;

use crate::definition::{Definition, Definitions, MetricsError};

/// About what other modes, and kube-proxy itself, left on this node.
#[derive(Clone, Debug)]
pub struct LeftoverMetrics {
    removed: IntCounterVec,
    failures: IntCounterVec,
}

impl LeftoverMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let counters = |name, help| Definition::alpha(name, help).counters(definitions, &["of"]);
        Ok(Self {
            removed: counters(
                "portolan_leftovers_removed_total",
                "Kernel objects of other modes that were removed, by mode",
            )?,
            failures: counters(
                "portolan_leftovers_failures_total",
                "Failed attempts to remove what other modes left, by mode",
            )?,
        })
    }

    /// This many objects of the mode `of` were removed; none counts too, so that the series is there.
    pub fn removed(&self, of: &str, objects: usize) {
        self.removed.with_label_values(&[of]).inc_by(u64::try_from(objects).unwrap_or(u64::MAX));
        // So that a failure is an increase.
        self.failures.with_label_values(&[of]).inc_by(0);
    }

    /// Not all objects of the mode `of` could be removed.
    pub fn failed(&self, of: &str) {
        self.failures.with_label_values(&[of]).inc();
    }
}

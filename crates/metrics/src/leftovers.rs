//! About what other modes, and kube-proxy itself, left on this node.

use prometheus::{GaugeVec, IntCounterVec};

use crate::definition::{Definition, Definitions, MetricsError};

/// About what other modes, and kube-proxy itself, left on this node.
#[derive(Clone, Debug)]
pub struct LeftoverMetrics {
    removed: IntCounterVec,
    failures: IntCounterVec,
    foreign: GaugeVec,
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
                "Failed attempts to remove what other modes left, by mode; that nobody could look is none",
            )?,
            foreign: Definition::alpha(
                "portolan_foreign_proxy_rules",
                "Whether another proxy, such as kube-proxy, has rules on this node while ours are programmed, by mode",
            )
            .gauges(definitions, &["of", "ip_family"])?,
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

    /// Rules that another proxy writes by the mode `of` were found, or are there no more.
    pub fn foreign(&self, of: &str, family: &str, is_there: bool) {
        self.foreign.with_label_values(&[of, family]).set(f64::from(u8::from(is_there)));
    }
}

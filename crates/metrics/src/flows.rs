//! About stale flows in connection tracking. `family` is `IPv4` or `IPv6` everywhere.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use crate::buckets;
use crate::definition::{Definition, Definitions, MetricsError};
use crate::sync::IP_FAMILY;

/// About stale flows in connection tracking.
///
/// As in kube-proxy a search that failed is neither timed nor counted under `kubeproxy_…`.
#[derive(Clone, Debug)]
pub struct FlowMetrics {
    duration: HistogramVec,
    deleted: IntCounterVec,
    failures: IntCounterVec,
}

impl FlowMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let counters = |name, help| Definition::alpha(name, help).counters(definitions, IP_FAMILY);
        let duration = Definition::alpha(
            "kubeproxy_conntrack_reconciler_sync_duration_seconds",
            "How long searches for stale flows in connection tracking took",
        );
        Ok(Self {
            duration: duration.histograms(definitions, IP_FAMILY, buckets::work())?,
            deleted: counters(
                "kubeproxy_conntrack_reconciler_deleted_entries_total",
                "Stale flows that were removed from connection tracking",
            )?,
            failures: counters(
                "portolan_conntrack_failures_total",
                "Searches for stale flows that failed and are repeated",
            )?,
        })
    }

    /// A search ended, and removed this many flows; none counts too, so that the series is there.
    pub fn removed(&self, family: &str, flows: usize, took: Duration) {
        self.duration.with_label_values(&[family]).observe(took.as_secs_f64());
        self.deleted.with_label_values(&[family]).inc_by(u64::try_from(flows).unwrap_or(u64::MAX));
        // So that the first failure is an increase.
        self.failures.with_label_values(&[family]).inc_by(0);
    }

    /// A search failed.
    pub fn failed(&self, family: &str) {
        self.failures.with_label_values(&[family]).inc();
    }
}

//! Metrics of syncs and of the changes that cause them. `family` is `IPv4` or `IPv6` everywhere.

use std::time::{Duration, SystemTime};

use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::definition::{Labels, MetricsError, count, number, unix_seconds};

pub(crate) const IP_FAMILY: &[&str] = &["ip_family"];

/// How much of the node's state a sync processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncScope {
    /// All of it.
    Full,
    /// What had changed.
    Partial,
}

/// What one successful sync sent to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Objects written or removed.
    pub operations: usize,
    /// Requests that carried them.
    pub messages: usize,
    /// Size of the requests in bytes.
    pub bytes: usize,
    /// The longest single commit.
    pub longest_transaction: Duration,
}

/// Metrics of syncs.
#[derive(Clone, Debug)]
pub struct SyncMetrics {
    duration: HistogramVec,
    full_duration: HistogramVec,
    partial_duration: HistogramVec,
    last: GaugeVec,
    last_queued: GaugeVec,
    network_programming: HistogramVec,
    without_local_endpoints: GaugeVec,
    operations: HistogramVec,
    messages: IntCounterVec,
    bytes: IntCounterVec,
    longest_transaction: HistogramVec,
    failures: IntCounterVec,
    drift: IntCounterVec,
    repairs: IntCounterVec,
    lag: GaugeVec,
    rules_programmed: GaugeVec,
}

impl SyncMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let family = Labels::new(registry, IP_FAMILY);
        let by_policy = Labels::new(registry, &["traffic_policy", "ip_family"]);
        Ok(Self {
            duration: family.histograms(
                "kubeproxy_sync_proxy_rules_duration_seconds",
                "Duration of syncs, successful or not",
                &durations(),
            )?,
            full_duration: family.histograms(
                "kubeproxy_sync_full_proxy_rules_duration_seconds",
                "Duration of full syncs, successful or not",
                &durations(),
            )?,
            partial_duration: family.histograms(
                "kubeproxy_sync_partial_proxy_rules_duration_seconds",
                "Duration of syncs of changed rules only, successful or not",
                &durations(),
            )?,
            last: family.gauges(
                "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "Time of the last successful sync, as Unix time",
            )?,
            last_queued: family.gauges(
                "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                "Time when a sync was last requested, as Unix time",
            )?,
            network_programming: family.histograms(
                "kubeproxy_network_programming_duration_seconds",
                "Time from a change of a pod or Service until the rules for it are programmed",
                &network_programming(),
            )?,
            without_local_endpoints: by_policy.gauges(
                "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                "Service ports with a Local traffic policy that have endpoints, but none on this node",
            )?,
            operations: family.histograms(
                "portolan_sync_operations",
                "Kernel objects that one successful sync wrote or removed",
                &powers_of_four(1.0),
            )?,
            messages: family.counters(
                "portolan_sync_messages_total",
                "Requests of successful syncs to the kernel: netlink messages, or lines of a program's input",
            )?,
            bytes: family.counters(
                "portolan_sync_bytes_total",
                "Bytes of the requests of successful syncs to the kernel",
            )?,
            longest_transaction: family.histograms(
                "portolan_sync_longest_transaction_seconds",
                "Duration of the longest single commit to the kernel in one successful sync",
                &powers_of_four(0.000_01),
            )?,
            failures: family.counters("portolan_sync_failures_total", "Failed syncs in any mode")?,
            drift: family.counters(
                "portolan_sync_drift_operations_total",
                "Kernel objects that another process changed and Portolan repaired",
            )?,
            repairs: family.counters(
                "portolan_sync_repairs_total",
                "Times that another process removed rules and Portolan wrote them again",
            )?,
            lag: family.gauges(
                "portolan_sync_lag_seconds",
                "Age of the oldest change that is not programmed, 0 if all are; before the initial sync, time since the start",
            )?,
            rules_programmed: family.gauges(
                "portolan_rules_programmed",
                "1 if the kernel has the rules of the IP family; 0 before the initial sync, and while removed rules are missing",
            )?,
        })
    }

    /// The family takes part. Shows its counters of failures as 0: a counter that begins with 1 is no increase to
    /// Prometheus, and the first failure would go unnoticed.
    pub fn started(&self, family: &str) {
        for counters in [&self.failures, &self.drift, &self.repairs] {
            counters.with_label_values(&[family]).inc_by(0);
        }
    }

    /// A sync ended, successfully or not.
    pub fn attempted(&self, family: &str, scope: SyncScope, took: Duration) {
        let by_scope = match scope {
            SyncScope::Full => &self.full_duration,
            SyncScope::Partial => &self.partial_duration,
        };
        for histogram in [&self.duration, by_scope] {
            histogram.with_label_values(&[family]).observe(took.as_secs_f64());
        }
    }

    /// A sync succeeded and sent this.
    pub fn wrote(&self, family: &str, written: &Written) {
        let Written { operations, messages, bytes, longest_transaction } = *written;
        self.operations.with_label_values(&[family]).observe(number(operations));
        self.messages.with_label_values(&[family]).inc_by(count(messages));
        self.bytes.with_label_values(&[family]).inc_by(count(bytes));
        self.longest_transaction.with_label_values(&[family]).observe(longest_transaction.as_secs_f64());
    }

    /// A sync failed, in any mode.
    pub fn failed(&self, family: &str) {
        self.failures.with_label_values(&[family]).inc();
    }

    /// A full sync repaired this many objects that another process had changed.
    pub fn drifted(&self, family: &str, operations: usize) {
        self.drift.with_label_values(&[family]).inc_by(count(operations));
    }

    /// Another process removed rules; they are written again.
    pub fn rules_damaged(&self, family: &str) {
        self.repairs.with_label_values(&[family]).inc();
    }

    /// The age of the oldest change that is not programmed; zero if all are. To be set when the page is made,
    /// because it grows by itself.
    pub fn lag(&self, family: &str, age: Duration) {
        self.lag.with_label_values(&[family]).set(age.as_secs_f64());
    }

    /// Whether the kernel has the family's rules. To be set when the page is made, as is the lag, so that the
    /// two agree.
    pub fn rules_programmed(&self, family: &str, are_programmed: bool) {
        self.rules_programmed.with_label_values(&[family]).set(f64::from(u8::from(are_programmed)));
    }

    /// A sync succeeded at `when`.
    pub fn synced(&self, family: &str, when: SystemTime) {
        self.last.with_label_values(&[family]).set(unix_seconds(when));
    }

    /// A sync was requested at `when`.
    pub fn queued(&self, family: &str, when: SystemTime) {
        self.last_queued.with_label_values(&[family]).set(unix_seconds(when));
    }

    /// A change was programmed this long after it happened.
    pub fn programmed(&self, family: &str, after: Duration) {
        self.network_programming.with_label_values(&[family]).observe(after.as_secs_f64());
    }

    /// This many service ports have endpoints elsewhere, but none on this node that their internal or external
    /// traffic policy admits.
    pub fn without_local_endpoints(&self, family: &str, internal: usize, external: usize) {
        for (policy, count) in [("internal", internal), ("external", external)] {
            self.without_local_endpoints.with_label_values(&[policy, family]).set(number(count));
        }
    }
}

/// Metrics of incoming changes of Services and EndpointSlices.
///
/// Pending changes are events: two changes of one Service before the next sync are two. (kube-proxy counts changed
/// Services, but every change of a slice.)
#[derive(Clone, Debug)]
pub struct ChangeMetrics {
    endpoints_total: IntCounter,
    endpoints_pending: IntGauge,
    services_total: IntCounter,
    services_pending: IntGauge,
}

impl ChangeMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let none = Labels::new(registry, &[]);
        Ok(Self {
            endpoints_total: none.counter(
                "kubeproxy_sync_proxy_rules_endpoint_changes_total",
                "Changes of EndpointSlices received",
            )?,
            endpoints_pending: none.gauge(
                "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                "Changes of EndpointSlices that are not programmed yet",
            )?,
            services_total: none.counter(
                "kubeproxy_sync_proxy_rules_service_changes_total",
                "Changes of Services received, once for each IP family served",
            )?,
            services_pending: none.gauge(
                "kubeproxy_sync_proxy_rules_service_changes_pending",
                "Changes of Services that are not programmed yet",
            )?,
        })
    }

    /// This many EndpointSlices were added, changed or deleted.
    pub fn endpoint_slices(&self, changes: usize) {
        self.endpoints_total.inc_by(count(changes));
        self.endpoints_pending.add(i64::try_from(changes).unwrap_or(i64::MAX));
    }

    /// This many Services were added, changed or deleted; each of `families` counts all.
    pub fn services(&self, changes: usize, families: usize) {
        self.services_total.inc_by(count(changes * families));
        self.services_pending.add(i64::try_from(changes).unwrap_or(i64::MAX));
    }

    /// All changes are programmed.
    pub fn all_synced(&self) {
        self.endpoints_pending.set(0);
        self.services_pending.set(0);
    }
}

/// Metrics of the removal of stale flows from connection tracking.
///
/// As in kube-proxy a failed search is neither timed nor counted under `kubeproxy_…`.
#[derive(Clone, Debug)]
pub struct FlowMetrics {
    duration: HistogramVec,
    deleted: IntCounterVec,
    failures: IntCounterVec,
}

impl FlowMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let family = Labels::new(registry, IP_FAMILY);
        Ok(Self {
            duration: family.histograms(
                "kubeproxy_conntrack_reconciler_sync_duration_seconds",
                "Duration of searches for stale flows in connection tracking",
                &durations(),
            )?,
            deleted: family.counters(
                "kubeproxy_conntrack_reconciler_deleted_entries_total",
                "Stale flows removed from connection tracking",
            )?,
            failures: family.counters(
                "portolan_conntrack_failures_total",
                "Failed searches for stale flows; each is repeated",
            )?,
        })
    }

    /// A search ended and removed this many flows; 0 makes the series appear.
    pub fn removed(&self, family: &str, flows: usize, took: Duration) {
        self.duration.with_label_values(&[family]).observe(took.as_secs_f64());
        self.deleted.with_label_values(&[family]).inc_by(count(flows));
        // So that the first failure is an increase.
        self.failures.with_label_values(&[family]).inc_by(0);
    }

    /// A search failed.
    pub fn failed(&self, family: &str) {
        self.failures.with_label_values(&[family]).inc();
    }
}

/// kube-proxy's bounds for durations: 1 ms, doubling to 16.384 s.
fn durations() -> Vec<f64> {
    (0..15).map(|power| 0.001 * f64::from(1_u32 << power)).collect()
}

/// kube-proxy's bounds for network programming, in seconds: 80 of them, up to five minutes.
fn network_programming() -> Vec<f64> {
    let below_one = [0.25, 0.5];
    let seconds = (1..=59).chain((60..=115).step_by(5)).chain((120..=300).step_by(30));
    below_one.into_iter().chain(seconds.map(f64::from)).collect()
}

/// Eleven bounds from `first`, times four each: up to a million objects, or from 10 µs to 10.5 s. An update of one
/// endpoint is near the lower end, an initial sync near the upper one.
fn powers_of_four(first: f64) -> Vec<f64> {
    (0..11).map(|power| first * f64::from(1_u32 << (2 * power))).collect()
}

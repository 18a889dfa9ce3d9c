//! About writing rules. `family` is `IPv4` or `IPv6` everywhere.

mod own;

use std::time::{Duration, SystemTime};

use prometheus::{GaugeVec, HistogramVec};

use crate::buckets;
use crate::clock::unix_seconds;
use crate::definition::{Definition, Definitions, MetricsError, number};
use own::OwnMetrics;

pub(crate) const IP_FAMILY: &[&str] = &["ip_family"];

/// How much of the node's state a sync went through.
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
    /// What the requests came to in bytes.
    pub bytes: usize,
    /// The longest single commit.
    pub longest_transaction: Duration,
}

/// About writing rules.
#[derive(Clone, Debug)]
pub struct SyncMetrics {
    duration: HistogramVec,
    full_duration: HistogramVec,
    partial_duration: HistogramVec,
    last: GaugeVec,
    last_queued: GaugeVec,
    network_programming: HistogramVec,
    without_local_endpoints: GaugeVec,
    own: OwnMetrics,
}

impl SyncMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let durations =
            |name, help| Definition::alpha(name, help).histograms(definitions, IP_FAMILY, buckets::work());
        let gauges = |name, help| Definition::alpha(name, help).gauges(definitions, IP_FAMILY);
        let histograms =
            |name, help, bounds| Definition::alpha(name, help).histograms(definitions, IP_FAMILY, bounds);
        Ok(Self {
            duration: durations(
                "kubeproxy_sync_proxy_rules_duration_seconds",
                "How long attempts to bring the rules up to date took",
            )?,
            full_duration: durations(
                "kubeproxy_sync_full_proxy_rules_duration_seconds",
                "How long attempts took that went through all rules",
            )?,
            partial_duration: durations(
                "kubeproxy_sync_partial_proxy_rules_duration_seconds",
                "How long attempts took that went through changed rules only",
            )?,
            last: gauges(
                "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "When the rules were last brought up to date, as Unix time",
            )?,
            last_queued: gauges(
                "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                "When the rules were last found to be out of date, as Unix time",
            )?,
            network_programming: histograms(
                "kubeproxy_network_programming_duration_seconds",
                "How long after a change of a pod or Service the rules followed",
                buckets::network_programming(),
            )?,
            without_local_endpoints: Definition::alpha(
                "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                "Service ports with a Local traffic policy that have endpoints, but none on this node",
            )
            .gauges(definitions, &["traffic_policy", IP_FAMILY[0]])?,
            own: OwnMetrics::define(definitions)?,
        })
    }

    /// The family takes part: from now on its counters of failures are shown.
    pub fn started(&self, family: &str) {
        self.own.started(family);
    }

    /// An attempt to write ended, one way or the other.
    pub fn attempted(&self, family: &str, scope: SyncScope, took: Duration) {
        let by_scope = match scope {
            SyncScope::Full => &self.full_duration,
            SyncScope::Partial => &self.partial_duration,
        };
        for histogram in [&self.duration, by_scope] {
            histogram.with_label_values(&[family]).observe(took.as_secs_f64());
        }
    }

    /// A write succeeded, and took this.
    pub fn wrote(&self, family: &str, written: &Written) {
        self.own.wrote(family, written);
    }

    /// A write failed, in whatever mode.
    pub fn failed(&self, family: &str) {
        self.own.failed(family);
    }

    /// A comparison of the kernel's rules with those that should be there had to mend them,
    /// and took this many operations; none counts too, so that the series is there.
    pub fn drifted(&self, family: &str, operations: usize) {
        self.own.drifted(family, operations);
    }

    /// Rules were found gone and are written again.
    pub fn damaged(&self, family: &str) {
        self.own.damaged(family);
    }

    /// The oldest change that is not programmed is this old; zero if all are. To be set when
    /// the page is made, because it grows by itself.
    pub fn lag(&self, family: &str, age: Duration) {
        self.own.lag(family, age);
    }

    /// Whether the kernel has the family's rules. To be set when the page is made, as is the lag, so that the
    /// two agree.
    pub fn rules_programmed(&self, family: &str, are_programmed: bool) {
        self.own.rules_programmed(family, are_programmed);
    }

    /// The rules are up to date since `when`.
    pub fn synced(&self, family: &str, when: SystemTime) {
        self.last.with_label_values(&[family]).set(unix_seconds(when));
    }

    /// The rules were found to be out of date at `when`.
    pub fn queued(&self, family: &str, when: SystemTime) {
        self.last_queued.with_label_values(&[family]).set(unix_seconds(when));
    }

    /// A change came into force this long after it happened.
    pub fn programmed(&self, family: &str, after: Duration) {
        self.network_programming.with_label_values(&[family]).observe(after.as_secs_f64());
    }

    /// So many service ports have endpoints elsewhere, but none here that their internal or
    /// external traffic policy admits.
    pub fn without_local_endpoints(&self, family: &str, internal: usize, external: usize) {
        for (policy, count) in [("internal", internal), ("external", external)] {
            self.without_local_endpoints.with_label_values(&[policy, family]).set(number(count));
        }
    }
}

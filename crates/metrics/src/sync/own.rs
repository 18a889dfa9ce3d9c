//! What kube-proxy does not tell about writing rules.

use std::time::Duration;

use prometheus::{GaugeVec, HistogramVec, IntCounterVec};

use super::{IP_FAMILY, Written};
use crate::buckets;
use crate::definition::{Definition, Definitions, MetricsError, number};

/// What kube-proxy does not tell about writing rules.
#[derive(Clone, Debug)]
pub(crate) struct OwnMetrics {
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

impl OwnMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let histograms =
            |name, help, bounds| Definition::alpha(name, help).histograms(definitions, IP_FAMILY, bounds);
        let counters = |name, help| Definition::alpha(name, help).counters(definitions, IP_FAMILY);
        let gauges = |name, help| Definition::alpha(name, help).gauges(definitions, IP_FAMILY);
        Ok(Self {
            operations: histograms(
                "portolan_sync_operations",
                "Kernel objects that one successful sync wrote or removed",
                buckets::operations(),
            )?,
            messages: counters(
                "portolan_sync_messages_total",
                "Requests to the kernel that successful syncs took: netlink messages, or lines of a program's input",
            )?,
            bytes: counters(
                "portolan_sync_bytes_total",
                "Bytes of the requests to the kernel that successful syncs took",
            )?,
            longest_transaction: histograms(
                "portolan_sync_longest_transaction_seconds",
                "The longest single commit to the kernel in one successful sync",
                buckets::transaction(),
            )?,
            failures: counters(
                "portolan_sync_failures_total",
                "Failed attempts to bring the rules up to date, in whatever mode",
            )?,
            drift: counters(
                "portolan_sync_drift_operations_total",
                "Kernel objects that were found changed by others and were mended",
            )?,
            repairs: counters(
                "portolan_sync_repairs_total",
                "Times that rules were found removed by others, and were written again at once",
            )?,
            lag: gauges(
                "portolan_sync_lag_seconds",
                "Age of the oldest change that is not programmed, 0 if all are; before the initial sync, time since the start",
            )?,
            rules_programmed: gauges(
                "portolan_rules_programmed",
                "1 if the kernel has the rules of the IP family; 0 before the initial sync, and while removed rules are missing",
            )?,
        })
    }

    /// The family takes part. Shows what may go wrong as 0 while it does not, because a counter that
    /// begins with 1 is no increase to Prometheus, and the first failure would go unnoticed.
    pub(crate) fn started(&self, family: &str) {
        for counters in [&self.failures, &self.drift, &self.repairs] {
            counters.with_label_values(&[family]).inc_by(0);
        }
    }

    pub(crate) fn wrote(&self, family: &str, written: &Written) {
        let Written { operations, messages, bytes, longest_transaction } = *written;
        self.operations.with_label_values(&[family]).observe(number(operations));
        self.messages.with_label_values(&[family]).inc_by(count(messages));
        self.bytes.with_label_values(&[family]).inc_by(count(bytes));
        self.longest_transaction.with_label_values(&[family]).observe(longest_transaction.as_secs_f64());
    }

    pub(crate) fn failed(&self, family: &str) {
        self.failures.with_label_values(&[family]).inc();
    }

    pub(crate) fn drifted(&self, family: &str, operations: usize) {
        self.drift.with_label_values(&[family]).inc_by(count(operations));
    }

    pub(crate) fn damaged(&self, family: &str) {
        self.repairs.with_label_values(&[family]).inc();
    }

    pub(crate) fn lag(&self, family: &str, age: Duration) {
        self.lag.with_label_values(&[family]).set(age.as_secs_f64());
    }

    pub(crate) fn rules_programmed(&self, family: &str, are_programmed: bool) {
        self.rules_programmed.with_label_values(&[family]).set(f64::from(u8::from(are_programmed)));
    }
}

pub(super) fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}

//! Metrics of the proxy mode that runs, and of stale rules of other modes.

use prometheus::{GaugeVec, IntCounterVec, Registry};

use crate::definition::{Labels, MetricsError, count};

/// Metrics of the mode that runs and of its selection.
#[derive(Clone, Debug)]
pub struct ModeMetrics {
    selected: GaugeVec,
    fallbacks: IntCounterVec,
}

impl ModeMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        Ok(Self {
            selected: Labels::new(registry, &["mode"]).gauges(
                "portolan_proxy_mode",
                "The mode that runs, whether or not its rules are programmed; the value is always 1",
            )?,
            fallbacks: Labels::new(registry, &["from", "to"]).counters(
                "portolan_mode_fallbacks_total",
                "Modes that this host does not support, with the mode that runs instead",
            )?,
        })
    }

    /// This mode runs, and no other.
    pub fn selected(&self, mode: &str) {
        self.selected.reset();
        self.selected.with_label_values(&[mode]).set(1.0);
    }

    /// The host does not support `from`; `to` runs instead.
    pub fn fell_back(&self, from: &str, to: &str) {
        self.fallbacks.with_label_values(&[from, to]).inc();
    }
}

/// Metrics of stale rules: those of other modes and of kube-proxy on this node.
#[derive(Clone, Debug)]
pub struct LeftoverMetrics {
    removed: IntCounterVec,
    failures: IntCounterVec,
    foreign: GaugeVec,
}

impl LeftoverMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let of = Labels::new(registry, &["of"]);
        Ok(Self {
            removed: of.counters(
                "portolan_leftovers_removed_total",
                "Stale kernel objects of other modes that were removed, by mode",
            )?,
            failures: of.counters(
                "portolan_leftovers_failures_total",
                "Failed attempts to remove stale rules, by mode; a mode that cannot be inspected is not counted",
            )?,
            foreign: Labels::new(registry, &["of", "ip_family"]).gauges(
                "portolan_foreign_proxy_rules",
                "1 if another proxy, such as kube-proxy, has rules on this node while Portolan's are programmed, by mode",
            )?,
        })
    }

    /// This many objects of the mode `of` were removed; 0 makes the series appear.
    pub fn removed(&self, of: &str, objects: usize) {
        self.removed.with_label_values(&[of]).inc_by(count(objects));
        self.failures.with_label_values(&[of]).inc_by(0);
    }

    /// Not all objects of the mode `of` could be removed.
    pub fn failed(&self, of: &str) {
        self.failures.with_label_values(&[of]).inc();
    }

    /// Whether another proxy has rules of the mode `of`.
    pub fn foreign(&self, of: &str, family: &str, is_there: bool) {
        self.foreign.with_label_values(&[of, family]).set(f64::from(u8::from(is_there)));
    }
}

//! About the mode that forwards, and how it was chosen.

use prometheus::{GaugeVec, IntCounterVec};

use crate::definition::{Definition, Definitions, MetricsError, number};

/// About the mode that forwards, and how it was chosen.
#[derive(Clone, Debug)]
pub struct ModeMetrics {
    selected: GaugeVec,
    fallbacks: IntCounterVec,
    current: GaugeVec,
    total: IntCounterVec,
}

impl ModeMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let selected = Definition::alpha(
            "portolan_proxy_mode",
            "The mode that runs, whether or not its rules are programmed; the value is always 1",
        );
        let fallbacks = Definition::alpha(
            "portolan_mode_fallbacks_total",
            "Modes that this host cannot run, with the one that was taken instead",
        );
        let current = Definition::alpha(
            "portolan_mode_current",
            "What the mode counts of its own now, such as sessions of the userspace mode",
        );
        let total = Definition::alpha(
            "portolan_mode_total",
            "What the mode has counted of its own so far, such as sessions that no endpoint took",
        );
        Ok(Self {
            current: current.gauges(definitions, &["what"])?,
            total: total.counters(definitions, &["what"])?,
            selected: selected.gauges(definitions, &["mode"])?,
            fallbacks: fallbacks.counters(definitions, &["from", "to"])?,
        })
    }

    /// This mode runs, and no other.
    pub fn selected(&self, mode: &str) {
        self.selected.reset();
        self.selected.with_label_values(&[mode]).set(1.0);
    }

    /// The mode has so many of these now.
    pub fn current(&self, what: &str, value: u64) {
        self.current.with_label_values(&[what]).set(number(usize::try_from(value).unwrap_or(usize::MAX)));
    }

    /// The mode has counted so many of these so far.
    pub fn total(&self, what: &str, value: u64) {
        let counter = self.total.with_label_values(&[what]);
        counter.inc_by(value.saturating_sub(counter.get()));
    }

    /// The host cannot run `from`, so `to` was taken.
    pub fn fell_back(&self, from: &str, to: &str) {
        self.fallbacks.with_label_values(&[from, to]).inc();
    }
}

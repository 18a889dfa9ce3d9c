//! About the mode that forwards, and how it was chosen.

use prometheus::{GaugeVec, IntCounterVec};

use crate::definition::{Definition, Definitions, MetricsError};

/// About the mode that forwards, and how it was chosen.
#[derive(Clone, Debug)]
pub struct ModeMetrics {
    selected: GaugeVec,
    fallbacks: IntCounterVec,
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
        Ok(Self {
            selected: selected.gauges(definitions, &["mode"])?,
            fallbacks: fallbacks.counters(definitions, &["from", "to"])?,
        })
    }

    /// This mode runs, and no other.
    pub fn selected(&self, mode: &str) {
        self.selected.reset();
        self.selected.with_label_values(&[mode]).set(1.0);
    }

    /// The host cannot run `from`, so `to` was taken.
    pub fn fell_back(&self, from: &str, to: &str) {
        self.fallbacks.with_label_values(&[from, to]).inc();
    }
}

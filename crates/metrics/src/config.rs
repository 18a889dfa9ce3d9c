//! About the configuration file being read again.

use std::time::SystemTime;

use prometheus::{GaugeVec, IntCounterVec};

use crate::clock::unix_seconds;
use crate::definition::{Definition, Definitions, MetricsError};

/// About the configuration file being read again. Nothing is shown before that happens.
#[derive(Clone, Debug)]
pub struct ConfigMetrics {
    reloads: IntCounterVec,
    last_successful: GaugeVec,
    last_success: GaugeVec,
}

impl ConfigMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let gauges = |name, help| Definition::alpha(name, help).gauges(definitions, &[]);
        let reloads = Definition::alpha(
            "portolan_config_reloads_total",
            "Changes of the configuration file, by whether they could be read (success, failure)",
        );
        Ok(Self {
            reloads: reloads.counters(definitions, &["result"])?,
            last_successful: gauges(
                "portolan_config_last_reload_successful",
                "Whether the configuration file could be read when it last changed",
            )?,
            last_success: gauges(
                "portolan_config_last_reload_success_timestamp_seconds",
                "When a changed configuration file was last read, as Unix time",
            )?,
        })
    }

    /// The file changed, and was read at `when`.
    pub fn reloaded(&self, when: SystemTime) {
        self.ended("success", 1.0);
        self.last_success.with_label_values::<&str>(&[]).set(unix_seconds(when));
    }

    /// The file changed, and could not be read or is not valid.
    pub fn reload_failed(&self) {
        self.ended("failure", 0.0);
    }

    fn ended(&self, result: &str, successful: f64) {
        self.reloads.with_label_values(&[result]).inc();
        self.last_successful.with_label_values::<&str>(&[]).set(successful);
    }
}

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

    /// The file changed and was read at `when`, or could not be.
    pub fn reloaded(&self, ok: bool, when: SystemTime) {
        self.reloads.with_label_values(&[if ok { "success" } else { "failure" }]).inc();
        self.last_successful.with_label_values::<&str>(&[]).set(f64::from(u8::from(ok)));
        if ok {
            self.last_success.with_label_values::<&str>(&[]).set(unix_seconds(when));
        }
    }
}

//! Metric registry and definitions, with kube-proxy's names, labels and buckets.
//!
//! Dashboards and alerts for kube-proxy keep working: every `kubeproxy_…` metric has the name, type, labels and bucket
//! bounds of kube-proxy 1.36, and a help text that starts with the `[ALPHA]` of Kubernetes' metric stability
//! (KEP-1209). Metrics without a counterpart in kube-proxy are called `portolan_…`.
//!
//! Always holds: a metric with labels is absent until its first observation; nothing is global, so a process, or a
//! test, may have several [`Metrics`].

mod api;
mod backend;
mod definition;
mod modes;
mod process;
mod program;
mod sync;

use prometheus::{GaugeVec, Registry, TextEncoder};

pub use api::{ClientMetrics, EventMetrics, EventResult, SourceMetrics};
pub use backend::{BackendMetrics, Unexported};
pub use definition::MetricsError;
pub use modes::{LeftoverMetrics, ModeMetrics};
pub use program::{Build, COMPILER, ConfigMetrics, ProbeMetrics};
pub use sync::{ChangeMetrics, FlowMetrics, SyncMetrics, SyncScope, Written};

/// All metrics of one process. Clones share the same values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    features: GaugeVec,
    /// Syncs.
    pub sync: SyncMetrics,
    /// Incoming changes of Services and endpoints.
    pub changes: ChangeMetrics,
    /// Removal of stale flows from connection tracking.
    pub flows: FlowMetrics,
    /// The health server.
    pub probes: ProbeMetrics,
    /// The watch on the API server, or on a folder.
    pub source: SourceMetrics,
    /// Requests to the API server.
    pub client: ClientMetrics,
    /// Kubernetes Events that the proxy records.
    pub events: EventMetrics,
    /// The mode that runs.
    pub mode: ModeMetrics,
    /// Reloads of the configuration file.
    pub config: ConfigMetrics,
    /// Stale rules of other modes and of kube-proxy.
    pub leftovers: LeftoverMetrics,
    /// What backends report.
    pub backend: BackendMetrics,
}

impl Metrics {
    /// The `Content-Type` of [`Metrics::render`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Defines all metrics, for a process of this build.
    ///
    /// # Errors
    /// A definition is not valid, which is a bug in this crate.
    pub fn new(build: &Build) -> Result<Self, MetricsError> {
        let registry = Registry::default();
        program::define_build(&registry, build)?;
        process::define(&registry)?;
        Ok(Self {
            features: program::define_features(&registry)?,
            sync: SyncMetrics::define(&registry)?,
            changes: ChangeMetrics::define(&registry)?,
            flows: FlowMetrics::define(&registry)?,
            probes: ProbeMetrics::define(&registry)?,
            source: SourceMetrics::define(&registry)?,
            client: ClientMetrics::define(&registry)?,
            events: EventMetrics::define(&registry)?,
            mode: ModeMetrics::define(&registry)?,
            config: ConfigMetrics::define(&registry)?,
            leftovers: LeftoverMetrics::define(&registry)?,
            backend: BackendMetrics::new(&registry),
            registry,
        })
    }

    /// Sets all feature gates: their names, stages (`ALPHA`, `BETA`, `DEPRECATED`, empty for GA) and whether they are
    /// enabled.
    pub fn features<'a>(&self, gates: impl IntoIterator<Item = (&'a str, &'a str, bool)>) {
        self.features.reset();
        for (name, stage, on) in gates {
            self.features.with_label_values(&[name, stage]).set(f64::from(u8::from(on)));
        }
    }

    /// All values in Prometheus' text format.
    ///
    /// # Errors
    /// The values cannot be written as text, which is a bug in this crate.
    pub fn render(&self) -> Result<String, MetricsError> {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).map_err(|source| MetricsError::Render { source })
    }
}

#[cfg(test)]
mod tests;

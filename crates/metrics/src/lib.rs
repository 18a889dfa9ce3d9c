//! Metric registry and definitions, with kube-proxy's names, labels and buckets.
//!
//! A dashboard or alert written for kube-proxy must go on working, so everything
//! called `kubeproxy_…` has the name, type, labels and bucket bounds of kube-proxy
//! 1.36, and a help text that starts with the `[ALPHA]` of Kubernetes' metric
//! stability (KEP-1209). What kube-proxy has no counterpart for is called `portolan_…`.
//!
//! Always holds: a metric with labels is absent until its first observation; nothing
//! here is global, so a process, or a test, may have as many [`Metrics`] as it likes.

mod backend;
mod buckets;
mod build;
mod changes;
mod client;
mod clock;
mod config;
mod definition;
mod events;
mod features;
mod flows;
mod leftovers;
mod mode;
mod probes;
mod process;
mod source;
mod sync;

use std::sync::Arc;

use prometheus::{GaugeVec, Registry, TextEncoder};

pub use backend::{BackendMetrics, Unexported};
pub use build::{Build, COMPILER};
pub use changes::ChangeMetrics;
pub use client::ClientMetrics;
pub use config::ConfigMetrics;
pub use definition::{Described, MetricsError};
pub use events::{EventMetrics, EventResult};
pub use flows::FlowMetrics;
pub use leftovers::LeftoverMetrics;
pub use mode::ModeMetrics;
pub use probes::ProbeMetrics;
pub use source::SourceMetrics;
pub use sync::{SyncMetrics, SyncScope, Written};

use definition::Definitions;

/// All metrics of one process. Clones share the same values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    described: Arc<[Described]>,
    features: GaugeVec,
    /// About writing rules.
    pub sync: SyncMetrics,
    /// About changes of Services and endpoints that have come in.
    pub changes: ChangeMetrics,
    /// About stale flows in connection tracking.
    pub flows: FlowMetrics,
    /// About the health server.
    pub probes: ProbeMetrics,
    /// About the watch on the API server, or on a folder.
    pub source: SourceMetrics,
    /// About requests to the API server.
    pub client: ClientMetrics,
    /// About the Kubernetes events that the proxy records.
    pub events: EventMetrics,
    /// About the mode that forwards, and how it was chosen.
    pub mode: ModeMetrics,
    /// About the configuration file being read again.
    pub config: ConfigMetrics,
    /// About what other modes, and kube-proxy itself, left on this node.
    pub leftovers: LeftoverMetrics,
    /// What backends report.
    pub backend: BackendMetrics,
}

impl Metrics {
    /// The `Content-Type` of [`Metrics::render`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Defines everything, for a process built like this, and watches the process itself.
    ///
    /// # Errors
    /// A definition is not valid, which is a fault of this crate.
    pub fn new(build: &Build) -> Result<Self, MetricsError> {
        let definitions = Definitions::default();
        build::define(&definitions, build)?;
        process::define(&definitions)?;
        let features = features::define(&definitions)?;
        let (sync, changes) = (SyncMetrics::define(&definitions)?, ChangeMetrics::define(&definitions)?);
        let (flows, probes) = (FlowMetrics::define(&definitions)?, ProbeMetrics::define(&definitions)?);
        let (source, client) = (SourceMetrics::define(&definitions)?, ClientMetrics::define(&definitions)?);
        let (events, mode) = (EventMetrics::define(&definitions)?, ModeMetrics::define(&definitions)?);
        let (config, leftovers) =
            (ConfigMetrics::define(&definitions)?, LeftoverMetrics::define(&definitions)?);
        let backend = BackendMetrics::define(&definitions)?;
        let (registry, described) = definitions.finish();
        backend.reserve(described.iter().map(|metric| metric.name.as_str()));
        Ok(Self {
            registry,
            described: described.into(),
            features,
            sync,
            changes,
            flows,
            probes,
            source,
            client,
            events,
            mode,
            config,
            leftovers,
            backend,
        })
    }

    /// All metrics there are, in order of name, whether or not they have been observed yet.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// These are all feature gates: their names, stages (`ALPHA`, `BETA`, `DEPRECATED`, empty
    /// for those that are generally available) and whether they are on.
    pub fn features<'a>(&self, gates: impl IntoIterator<Item = (&'a str, &'a str, bool)>) {
        self.features.reset();
        for (name, stage, on) in gates {
            self.features.with_label_values(&[name, stage]).set(f64::from(u8::from(on)));
        }
    }

    /// All values in Prometheus' text format.
    ///
    /// # Errors
    /// The values cannot be written as text, which is a fault of this crate.
    pub fn render(&self) -> Result<String, MetricsError> {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).map_err(|source| MetricsError::Render { source })
    }
}

#[cfg(test)]
mod tests;

//! Metric registry and definitions, with kube-proxy's names, labels and buckets.
//!
//! A dashboard or alert written for kube-proxy must go on working, so everything
//! called `kubeproxy_…` has the name, type, labels and bucket bounds of kube-proxy
//! 1.36, and a help text that starts with the `[ALPHA]` of Kubernetes' metric
//! stability (KEP-1209). What kube-proxy has no counterpart for is called `portolan_…`.
//!
//! Always holds: a metric with labels is absent until its first observation; nothing
//! here is global, so a process, or a test, may have as many [`Metrics`] as it likes.

mod buckets;
mod build;
mod changes;
mod definition;
mod flows;
mod probes;
mod process;
mod source;
mod sync;

use prometheus::{Registry, TextEncoder};

pub use changes::ChangeMetrics;
pub use definition::MetricsError;
pub use flows::FlowMetrics;
pub use probes::ProbeMetrics;
pub use source::SourceMetrics;
pub use sync::{SyncMetrics, SyncScope};

/// All metrics of one process. Clones share the same values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
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
}

impl Metrics {
    /// The `Content-Type` of [`Metrics::render`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Defines everything, for a process of this version, and watches the process itself.
    ///
    /// # Errors
    /// A definition is not valid, which is a fault of this crate.
    pub fn new(version: &str) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        build::define(&registry, version)?;
        process::define(&registry)?;
        Ok(Self {
            sync: SyncMetrics::define(&registry)?,
            changes: ChangeMetrics::define(&registry)?,
            flows: FlowMetrics::define(&registry)?,
            probes: ProbeMetrics::define(&registry)?,
            source: SourceMetrics::define(&registry)?,
            registry,
        })
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

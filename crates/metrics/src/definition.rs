//! Defines metrics in a registry.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Why metrics cannot be defined or shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A name, label or bucket is not valid or is defined twice.
    #[error("cannot define metric {name}")]
    Define {
        /// The metric.
        name: String,
        /// What is wrong with it.
        source: prometheus::Error,
    },
    /// The values cannot be written as text.
    #[error("cannot write metrics as text")]
    Render {
        /// The reason.
        source: prometheus::Error,
    },
}

/// Defines metrics that have the same labels. `help` comes without the stability in front.
#[derive(Clone, Copy)]
pub(crate) struct Labels<'a> {
    registry: &'a Registry,
    names: &'a [&'a str],
    stability: &'static str,
}

impl<'a> Labels<'a> {
    /// The metrics are `[ALPHA]`, as all of kube-proxy's own are (KEP-1209).
    pub(crate) fn new(registry: &'a Registry, names: &'a [&'a str]) -> Self {
        Self { registry, names, stability: "ALPHA" }
    }

    /// The metrics are `[BETA]`: Kubernetes keeps them for some releases.
    pub(crate) fn beta(self) -> Self {
        Self { stability: "BETA", ..self }
    }

    /// A counter without labels.
    pub(crate) fn counter(self, name: &str, help: &str) -> Result<IntCounter, MetricsError> {
        self.define(name, help, IntCounter::with_opts)
    }

    /// A counter for each value of the labels. Without labels: one that is absent until its first observation.
    pub(crate) fn counters(self, name: &str, help: &str) -> Result<IntCounterVec, MetricsError> {
        self.define(name, help, |opts| IntCounterVec::new(opts, self.names))
    }

    /// A gauge without labels.
    pub(crate) fn gauge(self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        self.define(name, help, IntGauge::with_opts)
    }

    /// A gauge for each value of the labels. Without labels: one that is absent until it is set.
    pub(crate) fn gauges(self, name: &str, help: &str) -> Result<GaugeVec, MetricsError> {
        self.define(name, help, |opts| GaugeVec::new(opts, self.names))
    }

    /// A histogram with these upper bounds for each value of the labels.
    pub(crate) fn histograms(
        self,
        name: &str,
        help: &str,
        bounds: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        self.define(name, help, |opts| {
            HistogramVec::new(HistogramOpts::from(opts).buckets(bounds.to_vec()), self.names)
        })
    }

    pub(crate) fn opts(self, name: &str, help: &str) -> Opts {
        Opts::new(name, format!("[{}] {help}", self.stability))
    }

    fn define<M: Collector + Clone + 'static>(
        self,
        name: &str,
        help: &str,
        make: impl FnOnce(Opts) -> Result<M, prometheus::Error>,
    ) -> Result<M, MetricsError> {
        let invalid = |source| MetricsError::Define { name: name.to_owned(), source };
        let metric = make(self.opts(name, help)).map_err(invalid)?;
        self.registry.register(Box::new(metric.clone())).map_err(invalid)?;
        Ok(metric)
    }
}

/// Brings a counter up to `total`; a smaller total changes nothing. For one caller at a time.
pub(crate) fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// A count as Prometheus keeps it.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}

/// A count as a counter takes it.
pub(crate) fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}

/// Unix time in seconds; zero for anything before.
pub(crate) fn unix_seconds(when: SystemTime) -> f64 {
    when.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

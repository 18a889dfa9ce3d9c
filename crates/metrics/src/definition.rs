//! Making metrics known to a registry, the same way for all.

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Why metrics cannot be defined or shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A name, label or bucket is not valid, or there twice.
    #[error("metric {name} cannot be defined")]
    Define {
        /// The metric.
        name: String,
        /// What is wrong with it.
        source: prometheus::Error,
    },
    /// The values cannot be written as text.
    #[error("metrics cannot be written as text")]
    Render {
        /// What stood in the way.
        source: prometheus::Error,
    },
}

/// What every definition says.
#[derive(Clone, Copy)]
pub(crate) struct Definition<'a> {
    /// Full name.
    pub(crate) name: &'a str,
    /// What it tells, without the stability in front.
    pub(crate) help: &'a str,
}

impl Definition<'_> {
    fn help(self) -> String {
        format!("[ALPHA] {}", self.help)
    }

    fn opts(self) -> Opts {
        Opts::new(self.name, self.help())
    }

    /// A number that only grows.
    pub(crate) fn counter(self, registry: &Registry) -> Result<IntCounter, MetricsError> {
        self.publish(registry, IntCounter::with_opts(self.opts()))
    }

    /// Such a number for each value of `labels`.
    pub(crate) fn counters(
        self,
        registry: &Registry,
        labels: &[&str],
    ) -> Result<IntCounterVec, MetricsError> {
        self.publish(registry, IntCounterVec::new(self.opts(), labels))
    }

    /// A number that comes and goes.
    pub(crate) fn gauge(self, registry: &Registry) -> Result<IntGauge, MetricsError> {
        self.publish(registry, IntGauge::with_opts(self.opts()))
    }

    /// Such a number for each value of `labels`.
    pub(crate) fn gauges(self, registry: &Registry, labels: &[&str]) -> Result<GaugeVec, MetricsError> {
        self.publish(registry, GaugeVec::new(self.opts(), labels))
    }

    /// How often values fell below each of `bounds`, for each value of `labels`.
    pub(crate) fn histograms(
        self,
        registry: &Registry,
        labels: &[&str],
        bounds: Vec<f64>,
    ) -> Result<HistogramVec, MetricsError> {
        let opts = HistogramOpts::new(self.name, self.help()).buckets(bounds);
        self.publish(registry, HistogramVec::new(opts, labels))
    }

    fn publish<M: Collector + Clone + 'static>(
        self,
        registry: &Registry,
        metric: Result<M, prometheus::Error>,
    ) -> Result<M, MetricsError> {
        let invalid = |source| MetricsError::Define { name: self.name.to_owned(), source };
        let metric = metric.map_err(invalid)?;
        registry.register(Box::new(metric.clone())).map_err(invalid)?;
        Ok(metric)
    }
}

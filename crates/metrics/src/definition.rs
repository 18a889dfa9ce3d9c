//! Making metrics known to a registry, the same way for all.

use std::cell::RefCell;

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

/// A metric as documentation lists it, whether or not it has been observed yet.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Described {
    /// Full name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The labels of its series.
    pub labels: Vec<String>,
    /// What it tells, with the stability in front as Kubernetes writes it.
    pub help: String,
    /// The upper bounds of a histogram's buckets, without the last, infinite one.
    pub bounds: Vec<f64>,
}

/// The metrics defined so far.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    pub(crate) registry: Registry,
    described: RefCell<Vec<Described>>,
}

impl Definitions {
    /// Makes `collector` known, which shows the metrics `described`.
    pub(crate) fn publish(
        &self,
        collector: Box<dyn Collector>,
        described: impl IntoIterator<Item = Described>,
    ) -> Result<(), prometheus::Error> {
        self.described.borrow_mut().extend(described);
        self.registry.register(collector)
    }

    /// The registry, and all that is in it, in order of name.
    pub(crate) fn finish(self) -> (Registry, Vec<Described>) {
        let mut described = self.described.into_inner();
        described.sort_by(|one, other| one.name.cmp(&other.name));
        (self.registry, described)
    }
}

/// What every definition says.
#[derive(Clone, Copy)]
pub(crate) struct Definition<'a> {
    name: &'a str,
    help: &'a str,
    stability: &'static str,
}

impl<'a> Definition<'a> {
    /// A metric that may change, as all of kube-proxy's own are (KEP-1209). `help` tells
    /// what it is about, without the stability in front.
    pub(crate) fn alpha(name: &'a str, help: &'a str) -> Self {
        Self { name, help, stability: "ALPHA" }
    }

    /// A metric that Kubernetes has promised to keep for a while.
    pub(crate) fn beta(name: &'a str, help: &'a str) -> Self {
        Self { name, help, stability: "BETA" }
    }

    pub(crate) fn help(self) -> String {
        format!("[{}] {}", self.stability, self.help)
    }

    fn opts(self) -> Opts {
        Opts::new(self.name, self.help())
    }

    pub(crate) fn describe(self, kind: &'static str, labels: &[&str], bounds: &[f64]) -> Described {
        Described {
            name: self.name.to_owned(),
            kind,
            labels: labels.iter().map(ToString::to_string).collect(),
            help: self.help(),
            bounds: bounds.to_vec(),
        }
    }

    /// A number that only grows.
    pub(crate) fn counter(self, definitions: &Definitions) -> Result<IntCounter, MetricsError> {
        let described = self.describe("counter", &[], &[]);
        self.publish(definitions, IntCounter::with_opts(self.opts()), described)
    }

    /// Such a number for each value of `labels`; without any, one that is absent at first.
    pub(crate) fn counters(
        self,
        definitions: &Definitions,
        labels: &[&str],
    ) -> Result<IntCounterVec, MetricsError> {
        let described = self.describe("counter", labels, &[]);
        self.publish(definitions, IntCounterVec::new(self.opts(), labels), described)
    }

    /// A number that comes and goes.
    pub(crate) fn gauge(self, definitions: &Definitions) -> Result<IntGauge, MetricsError> {
        let described = self.describe("gauge", &[], &[]);
        self.publish(definitions, IntGauge::with_opts(self.opts()), described)
    }

    /// Such a number for each value of `labels`; without any, one that is absent at first.
    pub(crate) fn gauges(self, definitions: &Definitions, labels: &[&str]) -> Result<GaugeVec, MetricsError> {
        let described = self.describe("gauge", labels, &[]);
        self.publish(definitions, GaugeVec::new(self.opts(), labels), described)
    }

    /// How often values fell below each of `bounds`, for each value of `labels`.
    pub(crate) fn histograms(
        self,
        definitions: &Definitions,
        labels: &[&str],
        bounds: Vec<f64>,
    ) -> Result<HistogramVec, MetricsError> {
        let described = self.describe("histogram", labels, &bounds);
        let opts = HistogramOpts::new(self.name, self.help()).buckets(bounds);
        self.publish(definitions, HistogramVec::new(opts, labels), described)
    }

    fn publish<M: Collector + Clone + 'static>(
        self,
        definitions: &Definitions,
        metric: Result<M, prometheus::Error>,
        described: Described,
    ) -> Result<M, MetricsError> {
        let invalid = |source| MetricsError::Define { name: self.name.to_owned(), source };
        let metric = metric.map_err(invalid)?;
        definitions.publish(Box::new(metric.clone()), [described]).map_err(invalid)?;
        Ok(metric)
    }
}

/// Turns a count into the number that Prometheus keeps. Counts stay far below 2^52, up to
/// which that is exact.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}

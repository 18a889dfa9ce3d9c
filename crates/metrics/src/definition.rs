//! Defines metrics in a registry.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto::MetricFamily;
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

    /// A counter without labels that another component keeps; absent until it is set.
    pub(crate) fn external_counter(self, name: &str, help: &str) -> Result<ExternalCounter, MetricsError> {
        self.define(name, help, ExternalCounter::with_opts)
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

    fn define<M: Collector + Clone + 'static>(
        self,
        name: &str,
        help: &str,
        make: impl FnOnce(Opts) -> Result<M, prometheus::Error>,
    ) -> Result<M, MetricsError> {
        let invalid = |source| MetricsError::Define { name: name.to_owned(), source };
        let metric = make(Opts::new(name, format!("[{}] {help}", self.stability))).map_err(invalid)?;
        self.registry.register(Box::new(metric.clone())).map_err(invalid)?;
        Ok(metric)
    }
}

/// A counter that another component keeps, such as the kernel; shown as it was last set, and absent while its value is
/// not known. Clones share the value.
///
/// A counter of this process would have to be brought up to the value, and two pages made at once could both add the
/// difference. A smaller value replaces a larger one, which Prometheus takes for a counter that starts over.
#[derive(Clone, Debug)]
pub(crate) struct ExternalCounter {
    opts: Opts,
    desc: Desc,
    total: Arc<Mutex<Option<u64>>>,
}

impl ExternalCounter {
    fn with_opts(opts: Opts) -> Result<Self, prometheus::Error> {
        Ok(Self { desc: opts.describe()?, opts, total: Arc::default() })
    }

    /// The value is `total`, or not known.
    pub(crate) fn set(&self, total: Option<u64>) {
        *self.total.lock().unwrap_or_else(PoisonError::into_inner) = total;
    }

    fn family(&self) -> Option<Vec<MetricFamily>> {
        let total = (*self.total.lock().unwrap_or_else(PoisonError::into_inner))?;
        let counter = IntCounter::with_opts(self.opts.clone()).ok()?;
        counter.inc_by(total);
        Some(counter.collect())
    }
}

impl Collector for ExternalCounter {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.family().unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_counter_shows_the_last_value_and_nothing_while_it_is_unknown() {
        let external = ExternalCounter::with_opts(Opts::new("packets_total", "Packets")).unwrap();
        let shown = |external: &ExternalCounter| {
            external
                .collect()
                .iter()
                .map(|family| family.get_metric()[0].get_counter().get_value())
                .collect::<Vec<_>>()
        };
        assert!(shown(&external).is_empty());
        for total in [0_u32, 7, 9, 3] {
            external.set(Some(total.into()));
            assert_eq!(shown(&external), [f64::from(total)]);
            // However often it is read.
            assert_eq!(shown(&external.clone()), [f64::from(total)]);
        }
        external.set(None);
        assert!(shown(&external).is_empty());
    }
}

//! Metrics that a backend reports.

use std::borrow::Cow;

/// One value of a metric that belongs to a mode.
///
/// It is exported under its name and labels. Those of an [`ApplyReport`](super::ApplyReport) or a
/// [`BackendError`](super::BackendError) get the label `ip_family` in addition. A name always has the same labels and
/// the same kind of value, and is not one that the proxy itself uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its name, in the alphabet of Prometheus; that of a counter ends in `_total`.
    pub name: Cow<'static, str>,
    /// What it counts. Names that the proxy's documentation lists have their text there, and need none here.
    pub help: Cow<'static, str>,
    /// Names and values of labels.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// The value.
    pub value: MetricValue,
}

/// The value of a metric, by how it changes over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricValue {
    /// It comes and goes: so many there are now.
    Gauge(u64),
    /// It only grows: so many have been added.
    Increment(u64),
    /// It only grows, and is counted elsewhere: so many there have been so far.
    Total(u64),
}

impl Metric {
    /// So many there are now.
    pub fn gauge(name: impl Into<Cow<'static, str>>, value: impl TryInto<u64>) -> Self {
        Self::new(name.into(), MetricValue::Gauge(value.try_into().unwrap_or(u64::MAX)))
    }

    /// So many more happened. Zero shows the counter, so that the first one is an increase.
    pub fn increment(name: impl Into<Cow<'static, str>>, value: impl TryInto<u64>) -> Self {
        Self::new(name.into(), MetricValue::Increment(value.try_into().unwrap_or(u64::MAX)))
    }

    /// So many have happened so far.
    pub fn total(name: impl Into<Cow<'static, str>>, value: impl TryInto<u64>) -> Self {
        Self::new(name.into(), MetricValue::Total(value.try_into().unwrap_or(u64::MAX)))
    }

    fn new(name: Cow<'static, str>, value: MetricValue) -> Self {
        Self { name, help: Cow::Borrowed(""), labels: Vec::new(), value }
    }

    /// With this label.
    #[must_use]
    pub fn with_label(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.labels.push((name, value.into()));
        self
    }

    /// With this text, for a name that the proxy does not know.
    #[must_use]
    pub fn with_help(self, help: impl Into<Cow<'static, str>>) -> Self {
        Self { help: help.into(), ..self }
    }
}

//! What scenarios found: figures, and what disagreed with what it should agree with.

use std::time::Duration;

use crate::measure::Samples;
use crate::objects::Size;
use crate::report::{Row, Seen, Unit};

/// Figures and faults of a run.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) rows: Vec<Row>,
    /// Each a sentence: the scenario, the figure, and what was expected. A run with faults fails.
    pub(crate) faults: Vec<String>,
}

/// Takes down the figures of one scenario at one size.
pub(crate) struct Sheet<'a> {
    findings: &'a mut Findings,
    scenario: String,
    size: Size,
}

impl Findings {
    /// A sheet for figures of one scenario at one size.
    pub(crate) fn sheet(&mut self, scenario: &str, size: Size) -> Sheet<'_> {
        Sheet { findings: self, scenario: scenario.to_owned(), size }
    }
}

impl Sheet<'_> {
    /// Takes down one figure.
    pub(crate) fn figure(&mut self, measure: &str, seen: Seen, value: f64, unit: Unit, target: Option<f64>) {
        self.findings.rows.push(Row {
            scenario: self.scenario.clone(),
            services: self.size.services,
            endpoints: self.size.endpoints(),
            measure: measure.to_owned(),
            seen,
            value,
            unit,
            target,
        });
    }

    /// A time as seen from outside.
    pub(crate) fn outside(&mut self, measure: &str, time: Duration, target: Option<f64>) {
        self.figure(measure, Seen::Outside, time.as_secs_f64(), Unit::Seconds, target);
    }

    /// A time by the proxy's metrics.
    pub(crate) fn inside(&mut self, measure: &str, seconds: f64, target: Option<f64>) {
        self.figure(measure, Seen::Inside, seconds, Unit::Seconds, target);
    }

    /// A number by the proxy's metrics.
    pub(crate) fn count(&mut self, measure: &str, value: f64) {
        self.figure(measure, Seen::Inside, value, Unit::Count, None);
    }

    /// A size of memory.
    pub(crate) fn bytes(&mut self, measure: &str, bytes: f64, target: Option<f64>) {
        self.figure(measure, Seen::Outside, bytes, Unit::Bytes, target);
    }

    /// The median and the 99th percentile of times; `suffix` tells the way they were seen.
    pub(crate) fn percentiles(&mut self, suffix: &str, samples: &Samples, targets: [Option<f64>; 2]) {
        for ((measure, percent), target) in [("p50", 50), ("p99", 99)].into_iter().zip(targets) {
            self.outside(&format!("{measure}{suffix}"), samples.percentile(percent), target);
        }
    }

    /// Takes down a fault unless `holds`.
    pub(crate) fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let Size { services, each } = self.size;
            self.findings.faults.push(format!("{} at {services} × {each}: {}", self.scenario, what()));
        }
    }
}

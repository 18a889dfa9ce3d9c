//! What the status server shows.

use std::sync::Arc;
use std::time::SystemTime;

use portolan_config::Config;
use portolan_core::backend::error_chain;
use portolan_core::{BackendFactory, IpFamily, ProxyMode};
use portolan_health::Health;
use portolan_health::status::{Flagz, MetricsPage, Profiling, Status, Statusz};
use portolan_metrics::{EventResult, Metrics};
use portolan_source::{Count, SourceMetrics};

use crate::logging::VerbosityHandle;
use crate::observer::log_unexported;
use crate::reload::Configz;

/// What a source counts as errors, with the label that shows it.
const SOURCE_ERRORS: [(Count, &str); 4] = [
    (Count::Malformed, "malformed_object"),
    (Count::Problems, "unusable_entry"),
    (Count::Failures, "failed_request"),
    (Count::BrokenFiles, "broken_file"),
];

/// What became of reports to the cluster.
const EVENTS: [(Count, EventResult); 3] = [
    (Count::EventsSent, EventResult::Sent),
    (Count::EventsFailed, EventResult::Failed),
    (Count::EventsDropped, EventResult::Dropped),
];

/// Whose numbers the metrics page shows.
#[derive(Clone)]
pub(crate) struct Numbers {
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) source: Arc<SourceMetrics>,
    pub(crate) families: Vec<IpFamily>,
    /// The mode's own.
    pub(crate) factory: Arc<dyn BackendFactory>,
}

impl Numbers {
    /// Writes all of them down. What others count is fetched as the page is asked for.
    fn page(&self) -> Result<String, String> {
        for (count, label) in SOURCE_ERRORS {
            self.metrics.source.errors_reached(label, self.source.get(count));
        }
        for (count, result) in EVENTS {
            self.metrics.events.reached(result, self.source.get(count));
        }
        for family in &self.families {
            let label = family.to_string();
            self.metrics.sync.lag(&label, self.health.lag(*family));
            self.metrics.sync.rules_programmed(&label, self.health.is_programmed(*family));
        }
        log_unexported(&self.metrics.backend.replace(&self.factory.metrics()));
        self.metrics.render().map_err(|problem| error_chain(&problem))
    }
}

/// The pages of a proxy that runs in `mode`.
pub(crate) fn status(
    config: &Config,
    mode: ProxyMode,
    started: SystemTime,
    numbers: Numbers,
    configz: Configz,
    verbosity: &VerbosityHandle,
) -> Status {
    let metrics: MetricsPage = Arc::new(move || numbers.page());
    let verbosity = verbosity.clone();
    Status {
        mode,
        started,
        metrics_content_type: Metrics::CONTENT_TYPE,
        metrics,
        configz: Arc::new(move || configz.text()),
        statusz: config.gates.is_on("ComponentStatusz").then(|| statusz(&config.reported_version)),
        flagz: config.gates.is_on("ComponentFlagz").then(|| Flagz { flags: config.flags.clone() }),
        profiling: config
            .profiling
            .then(|| Profiling { set_verbosity: Arc::new(move |level| verbosity.set(level)) }),
    }
}

/// Versions as `/statusz` tells them: those of Kubernetes without their last part.
fn statusz(git_version: &str) -> Statusz {
    let minor = git_version.trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join(".");
    Statusz {
        // There is no Go; tools expect the field.
        go_version: portolan_metrics::COMPILER.into(),
        binary_version: minor.clone(),
        emulation_version: minor,
    }
}

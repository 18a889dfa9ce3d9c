//! Chooses the mode, and lets everybody know when it is not the preferred one.

use std::sync::Arc;
use std::time::Duration;

use portolan_config::Config;
use portolan_core::{BackendFactory, Registry};
use portolan_metrics::Metrics;
use portolan_source::EventRecorder;
use tracing::warn;

use crate::{mode, reports};

/// How long the end of the process may wait for Events to be sent.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);

/// Chooses the mode to run.
///
/// # Errors
/// None can run here.
pub(crate) async fn choose_mode<'a>(
    config: &Config,
    registry: &'a Registry,
    events: &EventRecorder,
    metrics: &Metrics,
) -> anyhow::Result<&'a Arc<dyn BackendFactory>> {
    let chosen = match mode::choose(registry, &config.mode, config.mode_fallback).await {
        Ok(chosen) => chosen,
        Err(problem) => {
            events.record(reports::no_mode(&problem.to_string()));
            events.flush(LAST_WORDS).await;
            return Err(problem.into());
        }
    };
    if let Some(fallback) = chosen.fallback() {
        let (from, to) = (fallback.from.as_str(), fallback.to.as_str());
        warn!(from, to, missing = fallback.missing, "falling back to another proxy mode");
        metrics.mode.fell_back(from, to);
        events.record(reports::fell_back(&fallback));
    }
    metrics.mode.selected(chosen.factory.mode().as_str());
    Ok(chosen.factory)
}

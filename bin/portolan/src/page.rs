//! The metrics page.

use std::sync::Arc;

use portolan_core::backend::error_chain;
use portolan_health::status::MetricsPage;
use portolan_metrics::Metrics;
use portolan_source::{Count, SourceMetrics};

/// What a source counts as errors, with the label that shows it.
const SOURCE_ERRORS: [(Count, &str); 4] = [
    (Count::Malformed, "malformed_object"),
    (Count::Problems, "unusable_entry"),
    (Count::Failures, "failed_request"),
    (Count::BrokenFiles, "broken_file"),
];

/// Writes down `metrics` together with what `source` has counted by then.
pub(crate) fn metrics_page(metrics: Metrics, source: Arc<SourceMetrics>) -> MetricsPage {
    Arc::new(move || {
        for (count, label) in SOURCE_ERRORS {
            metrics.source.errors_reached(label, source.get(count));
        }
        metrics.render().map_err(|problem| error_chain(&problem))
    })
}

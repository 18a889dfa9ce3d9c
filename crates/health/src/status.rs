//! The status server (kube-proxy's port 10249): metrics, the mode, and a sign of life.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use portolan_core::ProxyMode;

use crate::response::{error, not_found, text};

/// What the status server shows.
#[derive(Clone)]
pub struct Status {
    /// The mode that forwards.
    pub mode: ProxyMode,
    /// When the process started.
    pub started: SystemTime,
    /// `Content-Type` of the metrics.
    pub metrics_content_type: &'static str,
    /// Writes down all metrics, or says why that is not possible.
    pub metrics: MetricsPage,
}

/// Makes the metrics page.
pub type MetricsPage = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Tells a scraper when the counters began, without reading the page.
const PROCESS_START: HeaderName = HeaderName::from_static("process-start-time-unix");

/// Serves `status`, whatever the method. `/healthz` only says that somebody answers;
/// the health server judges.
pub fn router(status: Status) -> Router {
    Router::new()
        .route("/metrics", any(metrics))
        .route("/proxyMode", any(async |State(status): State<Status>| text(status.mode.as_str())))
        .route("/healthz", any(async || text("ok")))
        .route("/healthz/ping", any(async || text("ok")))
        .fallback(not_found)
        .with_state(status)
}

async fn metrics(State(status): State<Status>) -> Response {
    let page = match (status.metrics)() {
        Ok(page) => page,
        Err(problem) => return error(StatusCode::INTERNAL_SERVER_ERROR, &problem),
    };
    let started = status.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(status.metrics_content_type)),
        (PROCESS_START, HeaderValue::from(started)),
    ];
    (headers, page).into_response()
}

//! The status server (kube-proxy's port 10249): metrics, the mode, what is configured, and
//! a sign of life.
//!
//! It listens on loopback unless told otherwise, asks nobody who they are, and so shows only
//! what may be seen by whoever can reach it.
//!
//! Always holds: paths match exactly and every method is answered alike, except where
//! kube-proxy looks at the method, too.

mod accept;
mod debug;
mod healthz;
mod pages;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use portolan_core::ProxyMode;

use crate::response::{error, json, not_found, text};

pub use debug::Profiling;
pub use pages::{Flagz, Statusz};

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
    /// The configuration in force, as JSON.
    pub configz: ConfigzPage,
    /// `/statusz`, if it is on (`ComponentStatusz`).
    pub statusz: Option<Statusz>,
    /// `/flagz`, if it is on (`ComponentFlagz`).
    pub flagz: Option<Flagz>,
    /// `/debug/…`, if it is on (`enableProfiling`).
    pub profiling: Option<Profiling>,
}

/// Makes the metrics page.
pub type MetricsPage = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Makes the configuration page.
pub type ConfigzPage = Arc<dyn Fn() -> String + Send + Sync>;

/// Tells a scraper when the counters began, without reading the page.
const PROCESS_START: HeaderName = HeaderName::from_static("process-start-time-unix");

/// Serves `status`. `/healthz` only says that somebody answers; the health server judges.
pub fn router(status: Status) -> Router {
    let pages = pages::router(&status);
    let debug = status.profiling.clone().map(debug::router).unwrap_or_default();
    Router::new()
        .route("/metrics", any(metrics))
        .route("/proxyMode", any(async |State(status): State<Status>| text(status.mode.as_str())))
        .route("/configz", any(async |State(status): State<Status>| json((status.configz)())))
        .merge(healthz::router(&status))
        .with_state(status)
        .merge(pages)
        .merge(debug)
        .fallback(not_found)
}

async fn metrics(State(status): State<Status>) -> Response {
    match (status.metrics)() {
        Ok(page) => metrics_page(&status, page),
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem),
    }
}

/// A page of metrics, with the headers that all such pages have.
fn metrics_page(status: &Status, page: String) -> Response {
    let started = status.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(status.metrics_content_type)),
        (PROCESS_START, HeaderValue::from(started)),
    ];
    (headers, page).into_response()
}

#[cfg(test)]
mod tests;

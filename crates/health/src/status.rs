//! The status server (kube-proxy's port 10249): metrics, mode, configuration and a liveness ping.
//!
//! It listens on loopback by default and has no authentication, so its pages contain no secrets.
//!
//! Always holds: paths match exactly, and all methods have the same response, except where kube-proxy distinguishes
//! them.

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

use crate::http::{error, json, not_found, text};

pub use debug::Profiling;
pub use pages::{Flagz, Statusz};

/// The content of the status server.
#[derive(Clone)]
pub struct Status {
    /// The mode that runs.
    pub mode: ProxyMode,
    /// When the process started.
    pub started: SystemTime,
    /// `Content-Type` of the metrics.
    pub metrics_content_type: &'static str,
    /// Renders all metrics, or returns an error text.
    pub metrics: MetricsPage,
    /// The effective configuration, as JSON.
    pub configz: ConfigzPage,
    /// `/statusz`, if enabled (`ComponentStatusz`).
    pub statusz: Option<Statusz>,
    /// `/flagz`, if enabled (`ComponentFlagz`).
    pub flagz: Option<Flagz>,
    /// `/debug/…`, if enabled (`enableProfiling`).
    pub profiling: Option<Profiling>,
}

/// Renders the metrics page.
pub type MetricsPage = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Renders the configuration page.
pub type ConfigzPage = Arc<dyn Fn() -> String + Send + Sync>;

/// The start of the counters, for scrapers that do not parse the page.
const PROCESS_START: HeaderName = HeaderName::from_static("process-start-time-unix");

/// Serves `status`. `/healthz` is a ping only; the health server reports health.
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

/// A page of metrics with its headers.
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

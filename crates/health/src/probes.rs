//! The health server (kube-proxy's port 10256): `/healthz` and `/livez`, and Portolan's `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;

use crate::health::Health;
use crate::http::{not_found, respond};
use crate::report::Probe;

/// Called for each response with its HTTP status.
pub type Answered = Arc<dyn Fn(Probe, u16) + Send + Sync>;

#[derive(Clone)]
struct Probes {
    health: Health,
    answered: Answered,
}

/// Serves probes of `health` for every method, and calls `answered` for each.
pub fn router(health: Health, answered: Answered) -> Router {
    Router::new()
        .route("/healthz", any(async |State(probes): State<Probes>| probes.answer(Probe::Healthz)))
        .route("/livez", any(async |State(probes): State<Probes>| probes.answer(Probe::Livez)))
        .route("/readyz", any(async |State(probes): State<Probes>| probes.answer(Probe::Readyz)))
        .fallback(not_found)
        .with_state(Probes { health, answered })
}

impl Probes {
    fn answer(&self, probe: Probe) -> Response {
        let report = self.health.report(probe);
        let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (self.answered)(probe, status.as_u16());
        respond(status, "application/json", report.body)
    }
}

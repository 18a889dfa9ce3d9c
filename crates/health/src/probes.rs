//! The health server (kube-proxy's port 10256): `/healthz` and `/livez`, and Portolan's `/readyz`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::any;
use jiff::Timestamp;
use serde::Serialize;

use crate::health::{self, FamilyHealth, Health, Moment, NodeEligibility};
use crate::http::{not_found, respond};

/// Called for each response with its HTTP status.
pub type Answered = Arc<dyn Fn(Probe, u16) + Send + Sync>;

/// Serves probes of `health` for every method, and calls `answered` for each.
pub fn router(health: Health, answered: Answered) -> Router {
    let answer = |probe| {
        any(async move |State((health, answered)): State<(Health, Answered)>| {
            let report = health.report(probe);
            let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            answered(probe, status.as_u16());
            respond(status, "application/json", report.body)
        })
    };
    Router::new()
        .route("/healthz", answer(Probe::Healthz))
        .route("/livez", answer(Probe::Livez))
        .route("/readyz", answer(Probe::Readyz))
        .fallback(not_found)
        .with_state((health, answered))
}

/// A probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/healthz`: whether load balancers may send traffic to this node.
    Healthz,
    /// `/livez`: whether the proxy works; otherwise it should be restarted.
    Livez,
    /// `/readyz`: whether the rules of this node are up to date, so that a rollout may continue.
    Readyz,
}

/// A response to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the HTTP status is 200, otherwise 503.
    pub ok: bool,
    /// One line of JSON.
    pub body: String,
}

/// Go's zero time, which kube-proxy shows before the first sync.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Fields in the order in which kube-proxy writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    last_updated: String,
    current_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    healthy: bool,
    /// Portolan's field.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    status: BTreeMap<String, FamilyBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyBody {
    last_updated: String,
    healthy: bool,
    /// Only on `/readyz`: why the family is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl health::State {
    pub(crate) fn report(&self, probe: Probe, now: Moment) -> Report {
        let healthy = match probe {
            Probe::Healthz => self.is_healthy(now) && self.incomplete.is_none(),
            Probe::Readyz => self.is_healthy(now),
            Probe::Livez => self.families().all(|(_, family)| !self.is_late(family, now)),
        };
        let eligible = (probe == Probe::Healthz).then_some(self.node == NodeEligibility::Eligible);
        let ok = healthy && eligible != Some(false);
        let last = self.families().filter_map(|(_, family)| family.programmed).map(|last| last.wall).max();
        let status = self.families().map(|(family, health)| {
            let healthy = match probe {
                Probe::Livez => !self.is_late(health, now),
                Probe::Healthz | Probe::Readyz => self.is_family_healthy(health, now),
            };
            let reason = if probe == Probe::Readyz { self.reason(health, now) } else { None };
            let last_updated = health.programmed.map_or(NEVER.into(), |last| rfc3339(last.wall));
            (family.to_string(), FamilyBody { last_updated, healthy, reason })
        });
        let body = Body {
            // Clients older than the next field read this as the current time.
            last_updated: if ok { rfc3339(now.wall) } else { last.map_or(NEVER.into(), rfc3339) },
            current_time: rfc3339(now.wall),
            node_eligible: eligible,
            healthy,
            reason: self.incomplete.as_deref().filter(|_| probe == Probe::Healthz),
            status: status.collect(),
        };
        // Strings and booleans always have a JSON form.
        Report { ok, body: serde_json::to_string(&body).unwrap_or_default() }
    }

    /// Why the family is not healthy. Errors are in the log only: the health server is open to the network.
    fn reason(&self, family: FamilyHealth, now: Moment) -> Option<String> {
        let failing = if family.is_failing { "; syncs fail and are retried, see the log" } else { "" };
        let waiting = family.waiting(now);
        let reason = match (family.programmed, waiting) {
            (Some(_), _) if !self.is_late(family, now) => return None,
            (Some(_), _) if family.is_removed => "rules that another process removed are missing".to_owned(),
            (Some(_), _) => {
                let waited = waiting.unwrap_or_default().as_secs();
                format!("rules are out of date: a change has waited for {waited}s")
            }
            (None, Some(_)) => "the initial sync has not completed".to_owned(),
            (None, None) => "waiting for Services, EndpointSlices and this node's Node object".to_owned(),
        };
        Some(reason + failing)
    }
}

/// Go's `RFC3339Nano`: fractions without trailing zeros.
fn rfc3339(time: SystemTime) -> String {
    // Only years beyond 9999 do not fit.
    Timestamp::try_from(time).map_or_else(|_| NEVER.into(), |timestamp| timestamp.to_string())
}

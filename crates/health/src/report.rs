//! What is answered to a probe.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::Moment;
use crate::state::{FamilyStatus, HealthState, NodeEligibility};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/healthz`: may this node receive traffic?
    Healthz,
    /// `/livez`: does the proxy work, or should it be restarted?
    Livez,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the answer is yes: HTTP status 200, otherwise 503.
    pub ok: bool,
    /// One line of JSON.
    pub body: String,
}

/// Go's zero time, which kube-proxy shows before anything has happened.
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
    /// Not kube-proxy's.
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
}

impl HealthState {
    /// Whether this node's rules are up to date with the Services that are known. It says
    /// nothing of the node itself.
    pub fn is_healthy(&self, now: Moment) -> bool {
        let mut families = self.families(now).peekable();
        families.peek().is_some() && families.all(|(_, family)| family.synced && !family.late)
    }

    /// The answer to `probe` at this moment.
    pub fn report(&self, probe: Probe, now: Moment) -> Report {
        let healthy_in = |family: &FamilyStatus| !family.late && (probe == Probe::Livez || family.synced);
        let families: Vec<_> = self.families(now).collect();
        let healthy = match probe {
            Probe::Healthz => self.is_healthy(now) && self.incomplete().is_none(),
            Probe::Livez => families.iter().all(|(_, family)| !family.late),
        };
        let eligible = self.node() == NodeEligibility::Eligible;
        let ok = healthy && (eligible || probe == Probe::Livez);
        let last = families.iter().map(|(_, family)| family.last_updated.wall).max();
        let status = families.iter().map(|(family, status)| {
            let body =
                FamilyBody { last_updated: rfc3339(status.last_updated.wall), healthy: healthy_in(status) };
            (family.to_string(), body)
        });
        let body = Body {
            // Clients from before the field below existed take this for the current time.
            last_updated: if ok { rfc3339(now.wall) } else { last.map_or(NEVER.into(), rfc3339) },
            current_time: rfc3339(now.wall),
            node_eligible: (probe == Probe::Healthz).then_some(eligible),
            healthy,
            reason: self.incomplete().filter(|_| probe == Probe::Healthz),
            status: status.collect(),
        };
        // Strings and booleans always have a JSON form.
        Report { ok, body: serde_json::to_string(&body).unwrap_or_default() }
    }
}

/// Go's `RFC3339Nano`: fractions only as long as they must be.
fn rfc3339(time: SystemTime) -> String {
    // Only years beyond 9999 do not fit.
    Timestamp::try_from(time).map_or_else(|_| NEVER.into(), |timestamp| timestamp.to_string())
}

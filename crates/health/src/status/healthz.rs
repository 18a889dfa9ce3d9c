//! `/healthz` of the status server, and `/metrics/slis`, which counts its checks.
//!
//! As in kube-proxy the only check is `ping`: the server responds. The health server reports whether rules are up to
//! date.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::any;

use super::{Status, metrics_page};
use crate::http::text;

/// Checks since the start or the last reset.
type Pings = Arc<AtomicU64>;

/// The routes, which share a counter.
pub(crate) fn router(status: &Status) -> Router<Status> {
    let pings = Pings::default();
    let counted = Arc::clone(&pings);
    let started = status.started;
    let slis = async move |method: Method, State(status): State<Status>| {
        if method == Method::DELETE {
            pings.store(0, Ordering::Relaxed);
            return text("metrics reset\n");
        }
        metrics_page(&status, slis(pings.load(Ordering::Relaxed), started))
    };
    Router::new()
        .route("/healthz", any(async move |RawQuery(query): RawQuery| healthz(query.as_deref(), &counted)))
        .route("/healthz/ping", any(async || text("ok")))
        .route("/metrics/slis", any(slis))
}

fn healthz(query: Option<&str>, pings: &Pings) -> Response {
    let query = query.unwrap_or_default().as_bytes();
    let has_verbose = form_urlencoded::parse(query).any(|(name, _)| name == "verbose");
    let excluded = form_urlencoded::parse(query).filter(|(name, _)| name == "exclude");
    let mut excluded: BTreeSet<_> = excluded.map(|(_, check)| check).collect();
    let mut report = if excluded.remove("ping") {
        "[+]ping excluded: ok\n".to_owned()
    } else {
        pings.fetch_add(1, Ordering::Relaxed);
        "[+]ping ok\n".to_owned()
    };
    if !excluded.is_empty() {
        let names: Vec<_> = excluded.iter().map(|check| format!("{check:?}")).collect();
        let _infallible = writeln!(
            report,
            "warn: some health checks cannot be excluded: no matches for {}",
            names.join(", ")
        );
    }
    if has_verbose { text(report + "healthz check passed\n") } else { text("ok") }
}

/// Kubernetes' service level indicators, of which this process has one.
fn slis(pings: u64, started: SystemTime) -> String {
    let mut page = String::new();
    if pings > 0 {
        page += "# HELP kubernetes_healthcheck [STABLE] Result of the last health check\n\
                 # TYPE kubernetes_healthcheck gauge\n\
                 kubernetes_healthcheck{name=\"ping\",type=\"healthz\"} 1\n\
                 # HELP kubernetes_healthchecks_total [STABLE] Health checks, by result\n\
                 # TYPE kubernetes_healthchecks_total counter\n";
        let _infallible = writeln!(
            page,
            "kubernetes_healthchecks_total{{name=\"ping\",status=\"success\",type=\"healthz\"}} {pings}"
        );
    }
    let started = started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let _infallible = writeln!(
        page,
        "# HELP process_start_time_seconds Start of the process, as Unix time\n\
         # TYPE process_start_time_seconds gauge\n\
         process_start_time_seconds {started}"
    );
    page
}

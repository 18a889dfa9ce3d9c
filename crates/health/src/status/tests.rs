//! What the status server answers on each path.

mod connection;
mod debugging;
mod documentation;
mod forms;

use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};

use super::*;
use crate::tests::{Answer, answer, ask, ask_for};

const TEXT: &str = "text/plain; charset=utf-8";

/// Everything that is on, and nothing more.
fn minimal() -> Status {
    Status {
        mode: ProxyMode::NFTABLES,
        started: UNIX_EPOCH + Duration::from_millis(1_700_000_000_900),
        metrics_content_type: "text/plain; version=0.0.4",
        metrics: Arc::new(|| Ok("a_metric 1\n".to_owned())),
        configz: Arc::new(|| "{\"kubeproxy.config.k8s.io\":{}}".to_owned()),
        statusz: None,
        flagz: None,
        profiling: None,
    }
}

/// Everything there is; verbosity that is set goes to the list.
fn everything(verbosity: &Arc<Mutex<Vec<u32>>>) -> Status {
    let verbosity = Arc::clone(verbosity);
    Status {
        statusz: Some(Statusz {
            go_version: "rustc 1.2.3".into(),
            binary_version: "1.36".into(),
            emulation_version: "1.35".into(),
        }),
        flagz: Some(Flagz {
            flags: [("v", "4"), ("help", "false"), ("bind-address", "0.0.0.0")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        }),
        profiling: Some(Profiling {
            set_verbosity: Arc::new(move |level| verbosity.lock().unwrap().push(level)),
        }),
        ..minimal()
    }
}

/// A router with everything on.
fn full_router() -> Router {
    router(everything(&Arc::default()))
}

async fn get(router: &Router, path: &str) -> Answer {
    ask(router, Method::GET, path).await
}

#[tokio::test]
async fn paths_match_exactly_and_every_method_is_answered() {
    let router = router(minimal());
    let page = |body| Answer { nosniff: false, ..answer(200, "text/plain; version=0.0.4", body) };
    let missing = || answer(404, TEXT, "404 page not found\n");
    let cases = [
        ("/proxyMode", answer(200, TEXT, "nftables")),
        ("/healthz", answer(200, TEXT, "ok")),
        ("/healthz/ping", answer(200, TEXT, "ok")),
        ("/metrics", page("a_metric 1\n")),
        ("/configz", answer(200, "application/json", "{\"kubeproxy.config.k8s.io\":{}}")),
        ("/", missing()),
        ("/livez", missing()),
        ("/readyz", missing()),
        ("/proxymode", missing()),
        ("/metrics/", missing()),
        ("/configz/", missing()),
        ("/statusz", missing()),
        ("/flagz", missing()),
        ("/debug", missing()),
        ("/debug/pprof", missing()),
        ("/debug/pprof/", missing()),
        ("/debug/pprof/profile", missing()),
        ("/debug/flags", missing()),
        ("/debug/flags/v", missing()),
    ];
    for (path, expected) in cases {
        for method in [Method::GET, Method::DELETE, Method::PUT] {
            assert_eq!(ask(&router, method, path).await, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn metrics_have_the_start_of_the_process() {
    let request = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
    let (_, headers) = ask_for(&router(minimal()), request).await;
    assert_eq!(headers["process-start-time-unix"], "1700000000");
}

#[tokio::test]
async fn metrics_that_cannot_be_written_are_an_error() {
    let status = Status { metrics: Arc::new(|| Err("no metrics".into())), ..minimal() };
    assert_eq!(get(&router(status), "/metrics").await, answer(500, TEXT, "no metrics\n"));
}

#[tokio::test]
async fn verbose_healthz_lists_its_check_without_excluded_ones() {
    let router = router(minimal());
    let passed = "healthz check passed\n";
    let cases = [
        ("verbose", format!("[+]ping ok\n{passed}")),
        ("verbose=false", format!("[+]ping ok\n{passed}")),
        ("exclude=ping", "ok".into()),
        ("verbose&exclude=ping", format!("[+]ping excluded: ok\n{passed}")),
        (
            "verbose&exclude=z%22&exclude=a",
            format!(
                "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \"a\", \"z\\\"\"\n{passed}"
            ),
        ),
        ("exclude=other", "ok".into()),
        ("verbos", "ok".into()),
    ];
    for (query, body) in cases {
        assert_eq!(get(&router, &format!("/healthz?{query}")).await, answer(200, TEXT, &body), "{query}");
    }
}

#[tokio::test]
async fn slis_count_checks_until_they_are_reset() {
    let router = router(minimal());
    let series = async || {
        let page = get(&router, "/metrics/slis").await;
        assert_eq!((page.status, page.content_type.as_str()), (200, "text/plain; version=0.0.4"));
        page.body.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    let start = "process_start_time_seconds 1700000000.9";
    assert_eq!(series().await, [start], "no check yet");
    get(&router, "/healthz").await;
    get(&router, "/healthz?exclude=ping").await;
    get(&router, "/healthz?verbose").await;
    let counted = [
        "kubernetes_healthcheck{name=\"ping\",type=\"healthz\"} 1",
        "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"healthz\"} 2",
        start,
    ];
    assert_eq!(series().await, counted);
    assert_eq!(series().await, counted, "looking changes nothing");
    assert_eq!(ask(&router, Method::DELETE, "/metrics/slis").await, answer(200, TEXT, "metrics reset\n"));
    assert_eq!(series().await, [start]);
}

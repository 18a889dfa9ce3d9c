//! What the two servers answer on each path.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use portolan_core::{IpFamily, ProxyMode};
use tower::ServiceExt;

use super::*;
use crate::status::Status;

/// Time that stands still.
struct Stopped(Instant);

impl Clock for Stopped {
    fn now(&self) -> Moment {
        Moment { monotonic: self.0, wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000) }
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    content_type: String,
    nosniff: bool,
    body: String,
}

fn answer(status: u16, content_type: &str, body: &str) -> Answer {
    Answer { status, content_type: content_type.into(), nosniff: true, body: body.into() }
}

async fn ask(router: &Router, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: response.status().as_u16(),
        content_type: header("content-type").unwrap_or_default(),
        nosniff: header("x-content-type-options").as_deref() == Some("nosniff"),
        body: String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().into()).unwrap(),
    }
}

fn health() -> Health {
    Health::new(HealthState::new(Duration::from_secs(30)), Stopped(Instant::now()))
}

#[tokio::test]
async fn probes_are_answered_from_health_and_counted() {
    let health = health();
    let counted = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::clone(&counted);
    let router = probes::router(
        health.clone(),
        Arc::new(move |probe, status| count.lock().unwrap().push((probe, status))),
    );
    health.started(IpFamily::V4);
    health.set_node(NodeEligibility::Eligible);
    let before = ask(&router, Method::GET, "/healthz").await;
    assert_eq!(
        (before.status, before.content_type.as_str(), before.nosniff),
        (503, "application/json", true)
    );
    assert_eq!(ask(&router, Method::GET, "/livez").await.status, 200);
    health.updated(IpFamily::V4);
    let after = ask(&router, Method::POST, "/healthz").await;
    let now = "2023-11-14T22:13:20Z";
    assert_eq!(
        after,
        answer(
            200,
            "application/json",
            &format!(
                "{{\"lastUpdated\":\"{now}\",\"currentTime\":\"{now}\",\"nodeEligible\":true,\"healthy\":true,\
                 \"status\":{{\"IPv4\":{{\"lastUpdated\":\"{now}\",\"healthy\":true}}}}}}"
            )
        )
    );
    assert_eq!(*counted.lock().unwrap(), [(Probe::Healthz, 503), (Probe::Livez, 200), (Probe::Healthz, 200)]);
}

#[tokio::test]
async fn the_health_server_knows_two_paths() {
    let router = probes::router(health(), Arc::new(|_, _| panic!("counted")));
    for path in ["/", "/healthz/", "/healthz/ping", "/readyz", "/metrics", "/proxyMode"] {
        let expected = answer(404, "text/plain; charset=utf-8", "404 page not found\n");
        assert_eq!(ask(&router, Method::GET, path).await, expected, "{path}");
    }
}

fn status_router(metrics: Result<&'static str, &'static str>) -> Router {
    status::router(Status {
        mode: ProxyMode::NFTABLES,
        started: UNIX_EPOCH + Duration::from_millis(1_700_000_000_900),
        metrics_content_type: "text/plain; version=0.0.4",
        metrics: Arc::new(move || metrics.map(str::to_owned).map_err(str::to_owned)),
    })
}

#[tokio::test]
async fn the_status_server_answers_on_its_paths() {
    let router = status_router(Ok("a_metric 1\n"));
    let text = "text/plain; charset=utf-8";
    let cases = [
        ("/proxyMode", answer(200, text, "nftables")),
        ("/healthz", answer(200, text, "ok")),
        ("/healthz/ping", answer(200, text, "ok")),
        ("/metrics", Answer { nosniff: false, ..answer(200, "text/plain; version=0.0.4", "a_metric 1\n") }),
        ("/", answer(404, text, "404 page not found\n")),
        ("/livez", answer(404, text, "404 page not found\n")),
        ("/proxymode", answer(404, text, "404 page not found\n")),
        ("/metrics/", answer(404, text, "404 page not found\n")),
    ];
    for (path, expected) in cases {
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(ask(&router, method, path).await, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn metrics_tell_when_the_process_started() {
    let request = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
    let response = status_router(Ok("")).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["process-start-time-unix"], "1700000000");
}

#[tokio::test]
async fn metrics_that_cannot_be_written_are_an_error() {
    let expected = answer(500, "text/plain; charset=utf-8", "no metrics\n");
    assert_eq!(ask(&status_router(Err("no metrics")), Method::GET, "/metrics").await, expected);
}

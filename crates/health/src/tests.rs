//! What the health server answers on each path, and how tests ask any of them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request};
use portolan_core::IpFamily;
use tower::ServiceExt;

use super::*;
use crate::health::Moment;

#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) nosniff: bool,
    pub(crate) body: String,
}

pub(crate) fn answer(status: u16, content_type: &str, body: &str) -> Answer {
    Answer { status, content_type: content_type.into(), nosniff: true, body: body.into() }
}

pub(crate) async fn ask(router: &Router, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    ask_for(router, request).await.0
}

/// The answer to any request, and all its headers.
pub(crate) async fn ask_for(router: &Router, request: Request<Body>) -> (Answer, HeaderMap) {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let answer = Answer {
        status: parts.status.as_u16(),
        content_type: header("content-type").unwrap_or_default(),
        nosniff: header("x-content-type-options").as_deref() == Some("nosniff"),
        body: String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().into()).unwrap(),
    };
    (answer, parts.headers)
}

fn health() -> Health {
    let now = Moment { monotonic: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000) };
    Health::with_clock(Duration::from_secs(30), move || now)
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

/// As the cluster's autoscaler leaves a node: no load balancer's traffic, and no reason to hold up a rollout.
#[tokio::test]
async fn a_node_that_is_about_to_be_deleted_stays_ready() {
    let health = health();
    let router = probes::router(health.clone(), Arc::new(|_, _| ()));
    health.started(IpFamily::V4);
    assert_eq!(ask(&router, Method::GET, "/readyz").await.status, 503);
    health.updated(IpFamily::V4);
    health.set_node(NodeEligibility::Ineligible);
    let statuses = [("/healthz", 503), ("/livez", 200), ("/readyz", 200)];
    for (path, status) in statuses {
        assert_eq!(ask(&router, Method::GET, path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn the_health_server_has_three_paths() {
    let router = probes::router(health(), Arc::new(|_, _| panic!("counted")));
    for path in ["/", "/healthz/", "/healthz/ping", "/readyz/", "/metrics", "/proxyMode"] {
        let expected = answer(404, "text/plain; charset=utf-8", "404 page not found\n");
        assert_eq!(ask(&router, Method::GET, path).await, expected, "{path}");
    }
}

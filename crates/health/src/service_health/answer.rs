//! The responses on the health check port of a Service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use portolan_core::ObjectName;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

use crate::health::Health;
use crate::http::respond;

/// A weight by which load balancers distribute traffic to nodes.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// The responses for a Service; clones share the count.
#[derive(Clone)]
pub(crate) struct Answer {
    service: ObjectName,
    local_endpoints: Arc<AtomicUsize>,
    health: Health,
}

/// Fields in the order in which kube-proxy writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    service: Service<'a>,
    local_endpoints: usize,
    service_proxy_healthy: bool,
}

#[derive(Serialize)]
struct Service<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl Answer {
    /// For `service` with this many local endpoints.
    pub(crate) fn new(service: ObjectName, local_endpoints: usize, health: Health) -> Self {
        Self { service, local_endpoints: Arc::new(AtomicUsize::new(local_endpoints)), health }
    }

    /// Sets the number of local endpoints.
    pub(crate) fn set(&self, local_endpoints: usize) {
        self.local_endpoints.store(local_endpoints, Ordering::Relaxed);
    }

    /// The same response on every path and for every method.
    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(async |State(answer): State<Self>| answer.respond()).with_state(self.clone())
    }

    fn respond(&self) -> Response {
        let local_endpoints = self.local_endpoints.load(Ordering::Relaxed);
        let healthy = self.health.is_healthy();
        let status =
            if healthy && local_endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response = respond(status, "application/json", self.body(local_endpoints, healthy));
        response.headers_mut().insert(WEIGHT, HeaderValue::from(local_endpoints));
        response
    }

    fn body(&self, local_endpoints: usize, service_proxy_healthy: bool) -> Vec<u8> {
        let service = Service { namespace: &self.service.namespace, name: &self.service.name };
        let body = Body { service, local_endpoints, service_proxy_healthy };
        let mut text = Vec::new();
        // Strings, numbers and booleans always have a JSON form.
        let _ =
            body.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t")));
        text
    }
}

//! Metrics of the source of Services and endpoints, of requests to the API server, and of Kubernetes Events.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, Registry};

use crate::definition::{Labels, MetricsError, raise};

/// client-go's bounds for durations of requests and waits for its rate limiter, in seconds.
const DURATIONS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];

/// client-go's bounds for sizes, in bytes.
const SIZES: [f64; 11] = [
    64.0,
    256.0,
    512.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// Metrics of requests to the API server: `rest_client_…`, as client-go has them.
///
/// `verb` is the HTTP method and `host` the server's name with its port.
#[derive(Clone, Debug)]
pub struct ClientMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    request_size: HistogramVec,
    response_size: HistogramVec,
    limiter: HistogramVec,
}

impl ClientMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let verb_host = Labels::new(registry, &["verb", "host"]);
        Ok(Self {
            requests: Labels::new(registry, &["code", "method", "host"])
                .counters("rest_client_requests_total", "Requests to the API server")?,
            duration: verb_host.histograms(
                "rest_client_request_duration_seconds",
                "Time until the API server began its response",
                &DURATIONS,
            )?,
            request_size: verb_host.histograms(
                "rest_client_request_size_bytes",
                "Sizes of request bodies sent to the API server",
                &SIZES,
            )?,
            response_size: verb_host.histograms(
                "rest_client_response_size_bytes",
                "Sizes of response bodies of the API server, without watches",
                &SIZES,
            )?,
            limiter: verb_host.histograms(
                "rest_client_rate_limiter_duration_seconds",
                "Time that requests waited for the client's rate limiter",
                &DURATIONS,
            )?,
        })
    }

    /// A request was answered after `took` with the HTTP status `code`, or with `<error>` in its place, as client-go
    /// writes it, if there was no response.
    pub fn answered(
        &self,
        verb: &str,
        code: &str,
        host: &str,
        took: Duration,
        request_bytes: u64,
        response_bytes: Option<u64>,
    ) {
        self.requests.with_label_values(&[code, verb, host]).inc();
        self.duration.with_label_values(&[verb, host]).observe(took.as_secs_f64());
        self.request_size.with_label_values(&[verb, host]).observe(bytes(request_bytes));
        if let Some(response_bytes) = response_bytes {
            self.response_size.with_label_values(&[verb, host]).observe(bytes(response_bytes));
        }
    }

    /// A request waited this long for the rate limiter.
    pub fn limited(&self, verb: &str, host: &str, waited: Duration) {
        self.limiter.with_label_values(&[verb, host]).observe(waited.as_secs_f64());
    }
}

#[expect(clippy::cast_precision_loss, reason = "bodies are far smaller than 2^52 bytes")]
fn bytes(size: u64) -> f64 {
    size as f64
}

/// Metrics of the watch on the API server, or on a folder.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    errors: IntCounterVec,
}

impl SourceMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let errors = Labels::new(registry, &["error"]).counters(
            "portolan_source_errors_total",
            "Errors while reading Services and endpoints, by kind of error",
        );
        Ok(Self { errors: errors? })
    }

    /// `total` errors of this kind have happened since the start. The source counts; this is called by one thread at
    /// a time before the page is made.
    pub fn errors_reached(&self, kind: &str, total: u64) {
        raise(&self.errors.with_label_values(&[kind]), total);
    }
}

/// What happened to a Kubernetes Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// The API server accepted it.
    Sent,
    /// The API server rejected it.
    Failed,
    /// The queue was full.
    Dropped,
}

/// Metrics of the Kubernetes Events that the proxy records.
#[derive(Clone, Debug)]
pub struct EventMetrics {
    events: IntCounterVec,
}

impl EventMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let events = Labels::new(registry, &["result"]).counters(
            "portolan_events_total",
            "Kubernetes Events recorded, by result (sent, failed, dropped)",
        );
        Ok(Self { events: events? })
    }

    /// `total` events have had this result since the start. The recorder counts; this is called by one thread at a
    /// time before the page is made.
    pub fn reached(&self, result: EventResult, total: u64) {
        let result = match result {
            EventResult::Sent => "sent",
            EventResult::Failed => "failed",
            EventResult::Dropped => "dropped",
        };
        raise(&self.events.with_label_values(&[result]), total);
    }
}

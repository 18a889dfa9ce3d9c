//! About requests to the API server: `rest_client_…`, as client-go has them.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use crate::buckets;
use crate::definition::{Definition, Definitions, MetricsError};

const VERB_HOST: &[&str] = &["verb", "host"];

/// About requests to the API server.
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
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let histograms =
            |name, help, bounds| Definition::alpha(name, help).histograms(definitions, VERB_HOST, bounds);
        let requests = Definition::alpha("rest_client_requests_total", "Requests to the API server");
        Ok(Self {
            requests: requests.counters(definitions, &["code", "method", "host"])?,
            duration: histograms(
                "rest_client_request_duration_seconds",
                "How long the API server took to begin its answers",
                buckets::requests(),
            )?,
            request_size: histograms(
                "rest_client_request_size_bytes",
                "Sizes of the bodies sent to the API server",
                buckets::sizes(),
            )?,
            response_size: histograms(
                "rest_client_response_size_bytes",
                "Sizes of the bodies that the API server sent, other than watches",
                buckets::sizes(),
            )?,
            limiter: histograms(
                "rest_client_rate_limiter_duration_seconds",
                "How long requests waited so as not to be too many",
                buckets::requests(),
            )?,
        })
    }

    /// A request was answered after `took` with the HTTP status `code`, or with `<error>`
    /// in its place, as client-go writes it, if there was no answer.
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

    /// A request waited this long before it was sent, so as not to be one too many.
    pub fn limited(&self, verb: &str, host: &str, waited: Duration) {
        self.limiter.with_label_values(&[verb, host]).observe(waited.as_secs_f64());
    }
}

#[expect(clippy::cast_precision_loss, reason = "bodies are far smaller than 2^52 bytes")]
fn bytes(size: u64) -> f64 {
    size as f64
}

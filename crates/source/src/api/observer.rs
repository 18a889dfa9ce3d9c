//! Reports each request to the API server to an observer, for metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

/// One request that was answered, or got no answer.
///
/// Every HTTP request is reported, watches too, as Kubernetes' own clients do for
/// their `rest_client_*` metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<'a> {
    /// HTTP method, in capitals.
    pub verb: &'a str,
    /// HTTP status, or `<error>` when there was no answer.
    pub code: &'a str,
    /// Host and port of the server, as its URL has them.
    pub host: &'a str,
    /// Time from sending until the headers of the answer, or until the request was given up.
    pub took: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body that arrived; nothing for watches, which have no end,
    /// and where there was no answer.
    pub response_bytes: Option<u64>,
}

/// Receives a report of each request to the API server.
///
/// Called on the source's own tasks, so an implementation only counts. A request whose answer has an end is reported
/// when that has been read.
pub trait ClientObserver: fmt::Debug + Send + Sync {
    /// A request was answered, or will not be.
    fn answered(&self, answered: &Answered<'_>);

    /// A request with this method to this host was delayed by the rate limit for so long, which is often zero. Watches
    /// are not limited and not reported.
    fn limited(&self, verb: &str, host: &str, waited: Duration);
}

/// Measures nothing.
impl ClientObserver for () {
    fn answered(&self, _: &Answered<'_>) {}

    fn limited(&self, _: &str, _: &str, _: Duration) {}
}

/// Reports a request when it is dropped, however that happens.
#[derive(Debug)]
pub(super) struct RequestReport {
    pub(super) observer: Arc<dyn ClientObserver>,
    pub(super) host: Arc<str>,
    pub(super) method: Method,
    /// Nothing when there was no answer.
    pub(super) code: Option<StatusCode>,
    pub(super) took: Duration,
    pub(super) request_bytes: u64,
    /// Bytes read of the answer; nothing when they do not count.
    pub(super) response_bytes: Option<u64>,
}

impl Drop for RequestReport {
    fn drop(&mut self) {
        self.observer.answered(&Answered {
            verb: self.method.as_str(),
            code: self.code.as_ref().map_or("<error>", StatusCode::as_str),
            host: &self.host,
            took: self.took,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        });
    }
}

//! What a source tells of its requests to whoever measures them.

use std::fmt;
use std::time::Duration;

/// One request that was answered, or got no answer.
///
/// Every HTTP request is told of, watches too, as Kubernetes' own clients do for
/// their `rest_client_*` metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<'a> {
    /// HTTP method, in capitals.
    pub verb: &'static str,
    /// HTTP status, or `<error>` when there was no answer.
    pub code: &'a str,
    /// Host and port of the server, as its URL has them.
    pub host: &'a str,
    /// Time from sending until the headers of the answer, or until it was given up.
    pub took: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body that arrived; nothing for watches, which have no end,
    /// and where there was no answer.
    pub response_bytes: Option<u64>,
}

/// Hears of requests to the API server.
///
/// Called on the source's own tasks, so an implementation only counts. Of an answer
/// that has an end it is told when that has been read.
pub trait ClientObserver: fmt::Debug + Send + Sync {
    /// A request has its answer, or will never have one.
    fn answered(&self, answered: &Answered<'_>);

    /// A request of this method to this host has waited so long for its turn, often no
    /// time at all. Watches do not wait and are not told of.
    fn limited(&self, verb: &str, host: &str, waited: Duration);
}

/// Measures nothing.
impl ClientObserver for () {
    fn answered(&self, _: &Answered<'_>) {}

    fn limited(&self, _: &str, _: &str, _: Duration) {}
}

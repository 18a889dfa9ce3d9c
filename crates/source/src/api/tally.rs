//! What is told of one request when it is over.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::client::{Answered, ClientObserver};

/// Tells an observer of a request when it is dropped, however that came about.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) observer: Arc<dyn ClientObserver>,
    pub(super) host: Arc<str>,
    pub(super) verb: &'static str,
    /// Nothing when there was no answer.
    pub(super) code: Option<StatusCode>,
    pub(super) took: Duration,
    pub(super) request_bytes: u64,
    /// Bytes read of the answer; nothing when they do not count.
    pub(super) read: Option<u64>,
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.observer.answered(&Answered {
            verb: self.verb,
            code: self.code.as_ref().map_or("<error>", StatusCode::as_str),
            host: &self.host,
            took: self.took,
            request_bytes: self.request_bytes,
            response_bytes: self.read,
        });
    }
}

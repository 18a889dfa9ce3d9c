//! Requests to one API server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use tokio::time::timeout;

use super::Timing;
use super::failure::{Failure, Refusal};
use crate::metrics::SourceMetrics;

/// Bytes read of an answer that says no.
const MAX_REFUSAL: usize = 64 << 10;

/// The way to one server, shared by all watches.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    /// URL of the server, for messages.
    pub(super) server: Arc<str>,
    pub(super) timing: Timing,
    pub(super) metrics: Arc<SourceMetrics>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("server", &self.server)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(client: Client, server: String, timing: Timing, metrics: Arc<SourceMetrics>) -> Self {
        Self { client, server: server.into(), timing, metrics }
    }

    /// How long the next watch is to last.
    pub(super) fn watch_time(&self) -> Duration {
        self.timing.watch.mul_f64(1.0 + fastrand::f64())
    }

    /// Asks for `path?query` and returns the body of the answer.
    ///
    /// # Errors
    /// There is no answer, or the server says no.
    pub(super) async fn get(&self, path: &str, query: &str) -> Result<Pieces, Failure> {
        let request =
            Request::get(format!("{path}?{query}")).header(ACCEPT, "application/json").body(Body::empty());
        let request = request.map_err(|error| Failure::connection(&error))?;
        let response = within(self.timing.answer, self.client.send(request)).await?;
        let response = response.map_err(|error| Failure::connection(&error))?;
        if response.status().is_success() {
            return Ok(Pieces(response.into_body()));
        }
        Err(self.refusal(response).await)
    }

    async fn refusal(&self, response: Response<Body>) -> Failure {
        let code = response.status().as_u16();
        let body =
            within(self.timing.answer, Limited::new(response.into_body(), MAX_REFUSAL).collect()).await;
        // The status says the most important part without its body.
        let body =
            body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Failure::Refused(Refusal::read(Some(code), &body))
    }
}

/// Waits for `future`, but no longer than `patience`.
async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(patience, future).await.or(Err(Failure::Silent { waited: patience }))
}

/// The body of an answer, as it arrives.
#[derive(Debug)]
pub(super) struct Pieces(Body);

impl Pieces {
    /// The next piece, or nothing at the end.
    ///
    /// # Errors
    /// The connection breaks, or stays silent for `patience`.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, Failure> {
        loop {
            match within(patience, self.0.frame()).await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::connection(&error)),
                // Anything but data is a trailer, which nobody asked for.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

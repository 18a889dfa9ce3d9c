//! Requests to one API server.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::Timing;
use super::access::{Access, Identity};
use super::addresses::Addresses;
use super::connect::Server;
use super::failure::{Failure, Refusal};
use super::limiter::Limiter;
use super::tally::Tally;
use crate::client::ClientObserver;
use crate::metrics::SourceMetrics;

/// Bytes read of an answer that nobody wants for its content.
const MAX_REFUSAL: usize = 64 << 10;

/// Waits for a turn that are told of, and those that everybody should hear of; both as
/// in Kubernetes' own clients.
const LONG_WAIT: Duration = Duration::from_millis(50);
const VERY_LONG_WAIT: Duration = Duration::from_secs(1);

/// The way to one server, shared by all that ask it.
#[derive(Clone)]
pub(crate) struct Link {
    access: Arc<Access>,
    /// URL of the server, for messages.
    pub(crate) server: Arc<str>,
    /// Host and port of the server, for metrics.
    host: Arc<str>,
    pub(crate) timing: Timing,
    pub(crate) metrics: Arc<SourceMetrics>,
    limiter: Arc<Limiter>,
    observer: Arc<dyn ClientObserver>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("server", &self.server)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// What an answer is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has an end.
    Whole,
    /// It goes on for as long as we listen. Such requests do not wait for their turn:
    /// they are few, and nothing works without them.
    Stream,
}

impl Link {
    pub(super) fn new(
        server: Server,
        timing: Timing,
        metrics: Arc<SourceMetrics>,
        observer: Arc<dyn ClientObserver>,
    ) -> Self {
        let Server { access, url, host, limiter } = server;
        let (access, limiter) = (Arc::new(access), Arc::new(limiter));
        Self { access, server: url.into(), host: host.into(), timing, metrics, limiter, observer }
    }

    /// Where connections lead.
    pub(super) fn addresses(&self) -> Addresses {
        self.access.addresses.clone()
    }

    /// Looks for renewed credentials, for ever.
    pub(super) async fn follow_credentials(self) {
        self.access.follow(self.timing.credentials).await;
    }

    /// How long the next watch is to last.
    pub(super) fn watch_time(&self) -> Duration {
        self.timing.watch.mul_f64(1.0 + fastrand::f64())
    }

    /// Asks for `path?query` and returns the body of the answer.
    ///
    /// # Errors
    /// There is no answer, or the server says no.
    pub(super) async fn get(&self, path: &str, query: &str, answer: Answer) -> Result<Pieces, Failure> {
        let request = Request::get(format!("{path}?{query}")).header(ACCEPT, JSON).body(Body::empty());
        let request = request.map_err(|error| Failure::connection(&error))?;
        if answer == Answer::Whole {
            self.wait_for_turn("GET").await;
        }
        let (response, mut tally, identity) = self.exchange("GET", request, 0).await?;
        let body = response.into_body();
        match answer {
            Answer::Whole => Ok(Pieces { body, tally: Some(tally), identity: None }),
            Answer::Stream => {
                tally.read = None;
                Ok(Pieces { body, tally: None, identity: Some(identity) })
            }
        }
    }

    /// Sends `body` to `path`, in this manner.
    ///
    /// # Errors
    /// There is no answer, or the server says no.
    pub(crate) async fn send(&self, manner: Manner, path: &str, body: Vec<u8>) -> Result<(), Failure> {
        let (method, content_type) = manner.spelled();
        let (verb, size) = (manner.verb(), body.len() as u64);
        let request = Request::builder().method(method).uri(path).header(ACCEPT, JSON);
        let request = request.header(CONTENT_TYPE, content_type).body(Body::from(body));
        let request = request.map_err(|error| Failure::connection(&error))?;
        self.wait_for_turn(verb).await;
        let (response, mut tally, _) = self.exchange(verb, request, size).await?;
        // What the server made of it is of no interest, but a connection is of use again only
        // once its answer has been read.
        tally.read = Some(self.drain(response).await.len() as u64);
        Ok(())
    }

    async fn wait_for_turn(&self, verb: &'static str) {
        let waited = self.limiter.turn().await;
        self.observer.limited(verb, &self.host, waited);
        let server = &*self.server;
        if waited > VERY_LONG_WAIT {
            info!(server, verb, ?waited, "a request had to wait for its turn; see --kube-api-qps");
        } else if waited > LONG_WAIT {
            debug!(server, verb, ?waited, "a request had to wait for its turn");
        }
    }

    /// Sends a request and waits for the headers of a favourable answer.
    async fn exchange(
        &self,
        verb: &'static str,
        mut request: Request<Body>,
        request_bytes: u64,
    ) -> Result<(Response<Body>, Tally, Identity), Failure> {
        let session = self.access.session().await?;
        request.headers_mut().extend(session.authorization.clone().map(|header| (AUTHORIZATION, header)));
        let began = Instant::now();
        let result = within(self.timing.answer, session.client.send(request)).await;
        let result = result.and_then(|sent| sent.map_err(|error| Failure::connection(&error)));
        let code = result.as_ref().ok().map(Response::status);
        let (observer, host) = (Arc::clone(&self.observer), Arc::clone(&self.host));
        let read = code.map(|_| 0);
        let mut tally = Tally { observer, host, verb, code, took: began.elapsed(), request_bytes, read };
        let response = result?;
        if response.status().is_success() {
            return Ok((response, tally, session.identity));
        }
        let code = response.status();
        if code == StatusCode::UNAUTHORIZED {
            self.access.refused(&session).await;
        }
        let wait = retry_after(&response);
        let body = self.drain(response).await;
        tally.read = Some(body.len() as u64);
        Err(Failure::Refused(Refusal::read(Some(code.as_u16()), &body).retry_after(wait)))
    }

    /// The start of a body; nothing if it cannot be had, because a status says the most
    /// important part without it.
    async fn drain(&self, response: Response<Body>) -> Bytes {
        let body = Limited::new(response.into_body(), MAX_REFUSAL).collect();
        let body = within(self.timing.answer, body).await.ok().and_then(Result::ok);
        body.map(http_body_util::Collected::to_bytes).unwrap_or_default()
    }
}

/// How long a server that is busy or away asks to be left alone, in seconds or until a time. Of other answers
/// the header says something else, such as where to look.
fn retry_after<T>(response: &Response<T>) -> Duration {
    let status = response.status();
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return Duration::ZERO;
    }
    let text = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let seconds = text.trim().parse().map(Duration::from_secs).ok();
    let until = || httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok();
    seconds.or_else(until).unwrap_or_default()
}

/// What we read and mostly write.
const JSON: &str = "application/json";

/// How an object is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It is new.
    Create,
    /// It is there, and these fields of it are to change.
    Patch,
}

impl Manner {
    fn verb(self) -> &'static str {
        match self {
            Self::Create => "POST",
            Self::Patch => "PATCH",
        }
    }

    fn spelled(self) -> (Method, &'static str) {
        match self {
            Self::Create => (Method::POST, JSON),
            Self::Patch => (Method::PATCH, "application/strategic-merge-patch+json"),
        }
    }
}

/// Waits for `future`, but no longer than `patience`.
async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(patience, future).await.or(Err(Failure::Silent { waited: patience }))
}

/// The body of an answer, as it arrives.
#[derive(Debug)]
pub(super) struct Pieces {
    body: Body,
    /// Of an answer that has an end.
    tally: Option<Tally>,
    /// Of one that has none.
    identity: Option<Identity>,
}

impl Pieces {
    /// The next piece, or nothing at the end.
    ///
    /// # Errors
    /// The connection breaks, or stays silent for `patience`, or the identity that it was made with is not
    /// ours any more.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, Failure> {
        let renewed = async {
            match &mut self.identity {
                Some(identity) => identity.renewed().await,
                None => pending().await,
            }
        };
        tokio::pin!(renewed);
        loop {
            let frame = tokio::select! {
                frame = within(patience, self.body.frame()) => frame?,
                () = &mut renewed => return Err(Failure::Renewed),
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::connection(&error)),
                // Anything but data is a trailer, which nobody asked for.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        if let Some(read) = self.tally.as_mut().and_then(|tally| tally.read.as_mut()) {
                            *read += data.len() as u64;
                        }
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: u16, value: &str) -> Duration {
        retry_after(&Response::builder().status(status).header(RETRY_AFTER, value).body(()).unwrap())
    }

    #[test]
    fn a_wait_is_in_seconds_or_until_a_time() {
        let second = Duration::from_secs(1);
        assert_eq!(asked(429, "7"), 7 * second);
        assert_eq!(asked(503, " 7 "), 7 * second);
        let hour = 3600 * second;
        for format in ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"] {
            let time = jiff::Timestamp::now() + hour;
            let asked = asked(503, &time.strftime(format).to_string());
            assert!(asked <= hour && asked > hour / 2, "{format}: {asked:?}");
        }
        assert_eq!(asked(503, "Sun, 06 Nov 1994 08:49:37 GMT"), Duration::ZERO, "that was long ago");
        for odd in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(asked(503, odd), Duration::ZERO, "{odd:?}");
        }
        for status in [301, 401, 403, 404] {
            assert_eq!(asked(status, "7"), Duration::ZERO, "{status}");
        }
        assert_eq!(retry_after(&Response::builder().status(503).body(()).unwrap()), Duration::ZERO);
    }
}

//! Requests to one API server.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Limited};
use kube::client::Body;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Timing;
use super::access::Access;
use super::failure::{Failure, Rejection};
use super::limiter::Limiter;
use super::observer::{ClientObserver, RequestReport};
use crate::metrics::SourceMetrics;

/// Bytes read of an answer whose content is not used.
const MAX_UNUSED: usize = 64 << 10;

/// Delays by the rate limit that are logged at -v 4, and those that are always logged; both as in Kubernetes' own
/// clients.
const LONG_DELAY: Duration = Duration::from_millis(50);
const VERY_LONG_DELAY: Duration = Duration::from_secs(1);

const JSON: &str = "application/json";
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";

/// A client of one server, shared by everything that sends requests to it.
#[derive(Clone)]
pub(crate) struct ApiClient {
    pub(super) access: Arc<Access>,
    /// URL of the server, for messages.
    pub(crate) server: Arc<str>,
    /// Host and port of the server, for metrics.
    pub(super) host: Arc<str>,
    pub(crate) timing: Timing,
    pub(crate) metrics: Arc<SourceMetrics>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) observer: Arc<dyn ClientObserver>,
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient")
            .field("server", &self.server)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// How objects are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadVerb {
    /// The answer has an end.
    List,
    /// The answer continues as long as the client reads. Such requests are not limited: they are few, and nothing
    /// works without them.
    Watch,
}

impl ApiClient {
    /// Checks for renewed credentials periodically; does not end.
    pub(super) async fn check_credentials(self) {
        self.access.check_periodically(self.timing.credentials).await;
    }

    /// The duration to request for the next watch.
    pub(super) fn watch_timeout(&self) -> Duration {
        self.timing.watch.mul_f64(1.0 + fastrand::f64())
    }

    /// Requests `path?query` and returns the body of the answer.
    ///
    /// # Errors
    /// There is no answer, or the server rejects the request.
    pub(super) async fn get(&self, path: &str, query: &str, verb: ReadVerb) -> Result<Chunks, Failure> {
        let request = Request::get(format!("{path}?{query}")).header(ACCEPT, JSON).body(Body::empty());
        if verb == ReadVerb::List {
            self.wait_for_turn(&Method::GET).await;
        }
        let (response, mut report, renewed) = self.exchange(request, 0).await?;
        let body = response.into_body();
        Ok(match verb {
            ReadVerb::List => Chunks { body, report: Some(report), renewed: CancellationToken::new() },
            ReadVerb::Watch => {
                report.response_bytes = None;
                drop(report);
                Chunks { body, report: None, renewed }
            }
        })
    }

    /// Creates an object in the collection at `path`.
    ///
    /// # Errors
    /// There is no answer, or the server rejects the request.
    pub(crate) async fn create(&self, path: &str, object: Vec<u8>) -> Result<(), Failure> {
        self.send(Method::POST, JSON, path, object).await
    }

    /// Changes fields of the object at `path`.
    ///
    /// # Errors
    /// There is no answer, or the server rejects the request.
    pub(crate) async fn patch(&self, path: &str, body: Vec<u8>) -> Result<(), Failure> {
        self.send(Method::PATCH, STRATEGIC_MERGE_PATCH, path, body).await
    }

    async fn send(&self, method: Method, content: &str, path: &str, body: Vec<u8>) -> Result<(), Failure> {
        let size = body.len() as u64;
        self.wait_for_turn(&method).await;
        let request = Request::builder().method(method).uri(path);
        let request = request.header(ACCEPT, JSON).header(CONTENT_TYPE, content).body(Body::from(body));
        let (response, mut report, _) = self.exchange(request, size).await?;
        // The content is not used, but the connection can be used again only once the answer has been read.
        report.response_bytes = Some(self.drain(response).await.len() as u64);
        Ok(())
    }

    async fn wait_for_turn(&self, method: &Method) {
        let waited = self.limiter.turn().await;
        self.observer.limited(method.as_str(), &self.host, waited);
        let server = &*self.server;
        if waited > VERY_LONG_DELAY {
            info!(server, verb = %method, ?waited, "Request was delayed by the client-side rate limit (--kube-api-qps)");
        } else if waited > LONG_DELAY {
            debug!(server, verb = %method, ?waited, "Request was delayed by the client-side rate limit");
        }
    }

    /// Sends a request and waits for the headers of a successful answer.
    async fn exchange(
        &self,
        request: Result<Request<Body>, http::Error>,
        request_bytes: u64,
    ) -> Result<(Response<Body>, RequestReport, CancellationToken), Failure> {
        let mut request = request.map_err(|error| Failure::connection(&error))?;
        let session = self.access.session().await?;
        request.headers_mut().extend(session.authorization.clone().map(|header| (AUTHORIZATION, header)));
        let (method, began) = (request.method().clone(), Instant::now());
        let result = within(self.timing.answer, session.client.send(request)).await;
        let result = result.and_then(|sent| sent.map_err(|error| Failure::connection(&error)));
        let code = result.as_ref().ok().map(Response::status);
        let mut report = RequestReport {
            observer: Arc::clone(&self.observer),
            host: Arc::clone(&self.host),
            method,
            code,
            took: began.elapsed(),
            request_bytes,
            response_bytes: code.map(|_| 0),
        };
        let response = result?;
        let code = response.status();
        if code.is_success() {
            return Ok((response, report, session.renewed));
        }
        if code == StatusCode::UNAUTHORIZED {
            self.access.rejected(&session).await;
        }
        let wait = retry_after(&response);
        let body = self.drain(response).await;
        report.response_bytes = Some(body.len() as u64);
        Err(Failure::Rejected(Rejection::read(Some(code.as_u16()), &body).retry_after(wait)))
    }

    /// The start of a body; nothing if it cannot be read, because the status is the most important part.
    async fn drain(&self, response: Response<Body>) -> Bytes {
        let body = Limited::new(response.into_body(), MAX_UNUSED).collect();
        let body = within(self.timing.answer, body).await.ok().and_then(Result::ok);
        body.map(Collected::to_bytes).unwrap_or_default()
    }
}

/// The wait that an overloaded or unavailable server requests, in seconds or until a time. In other answers the
/// header has another meaning.
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

/// Waits for `future`, but no longer than `time_limit`.
async fn within<T>(time_limit: Duration, future: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(time_limit, future).await.or(Err(Failure::Timeout(time_limit)))
}

/// The body of an answer, as it arrives.
#[derive(Debug)]
pub(super) struct Chunks {
    body: Body,
    /// Of an answer that has an end.
    report: Option<RequestReport>,
    /// Cancelled when a watch has to end because the client certificate was renewed.
    renewed: CancellationToken,
}

impl Chunks {
    /// The next chunk, or nothing at the end.
    ///
    /// # Errors
    /// The connection breaks, or delivers no data for `time_limit`, or the client certificate was renewed.
    pub(super) async fn next(&mut self, time_limit: Duration) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = tokio::select! {
                frame = within(time_limit, self.body.frame()) => frame?,
                () = self.renewed.cancelled() => return Err(Failure::Renewed),
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::connection(&error)),
                // Anything but data is a trailer.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        if let Some(RequestReport { response_bytes: Some(bytes), .. }) = &mut self.report {
                            *bytes += data.len() as u64;
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

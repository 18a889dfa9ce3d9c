//! HTTP: a bounded number of connections per listener, and responses as Go's HTTP server writes them.
//!
//! The health ports are open to the whole network. A client that opens connections and sends nothing would otherwise
//! fill memory with them, some 17 KiB each, until the kernel kills the process.
//!
//! Always holds: a listener has at most [`MAX_CONNECTIONS`]; one more closes the oldest, so idle connections never keep
//! other clients out. A connection without a complete request is closed after [`REQUEST_TIMEOUT`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Concurrent connections of a listener. Far more than probes and scrapes need: each takes milliseconds.
const MAX_CONNECTIONS: usize = 1024;

/// How long a connection may be idle before a complete request. Longer than the minute between Prometheus' scrapes, so
/// that its connection stays open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// Serves `router` on `listener`. When this is dropped, the listener is closed, and its connections are closed after the
/// responses in progress.
pub(crate) async fn serve(mut listener: TcpListener, router: Router) -> Infallible {
    let connections = GracefulShutdown::new();
    let mut open = Open::default();
    loop {
        let (stream, _client) = Listener::accept(&mut listener).await;
        let connection = serve_connection(stream, router.clone(), connections.watcher());
        open.add(tokio::spawn(connection).abort_handle());
    }
}

/// Serves one connection. Errors are those of the client.
async fn serve_connection(stream: TcpStream, router: Router, watcher: Watcher) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ended = watcher.watch(connection).await;
}

/// Open connections, the oldest first, and some that have ended.
#[derive(Default)]
struct Open(VecDeque<AbortHandle>);

impl Open {
    fn add(&mut self, connection: AbortHandle) {
        if self.0.len() == MAX_CONNECTIONS {
            self.0.retain(|connection| !connection.is_finished());
        }
        if self.0.len() == MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// A response whose type browsers must not guess.
pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, body.into()).into_response()
}

/// Plain text, status 200.
pub(crate) fn text(body: impl Into<String>) -> Response {
    respond(StatusCode::OK, TEXT, body.into())
}

/// Plain text with a newline, as Go writes errors.
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    respond(status, TEXT, format!("{message}\n"))
}

/// The response of unknown paths.
pub(crate) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

/// JSON, status 200.
pub(crate) fn json(body: impl Into<Body>) -> Response {
    respond(StatusCode::OK, "application/json", body)
}

#[cfg(test)]
mod tests;

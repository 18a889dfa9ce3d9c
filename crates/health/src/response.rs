//! Answers as Go's HTTP server gives them.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

const TEXT: &str = "text/plain; charset=utf-8";

/// Text, or whatever `content_type` says, that browsers must not take for anything else.
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

/// Plain text with the status of a failure; Go ends such texts with a line feed.
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    respond(status, TEXT, format!("{message}\n"))
}

/// For every path that is not served.
pub(crate) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

/// JSON, status 200.
pub(crate) fn json(body: impl Into<Body>) -> Response {
    respond(StatusCode::OK, "application/json", body)
}

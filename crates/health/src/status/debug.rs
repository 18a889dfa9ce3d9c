//! `/debug/…`: CPU profiles and log verbosity.
//!
//! The paths are those of `go tool pprof`. Profiles are per thread and have no stacks (decision 13). Profiles of Go's
//! runtime answer 501.

mod profile;
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as Parameter, RawQuery};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LOCATION};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::http::{error, respond, text};
use profile::Profile;

/// procfs.
const PROC: &str = "/proc";

/// The default length of a profile, as in Go.
const SECONDS: u64 = 30;

/// The longest profile.
const MAX_SECONDS: u64 = 3600;

/// Profiles of Go's runtime.
const GO_PROFILES: [&str; 7] = ["allocs", "block", "goroutine", "heap", "mutex", "threadcreate", "trace"];

/// The actions of `/debug/…`.
#[derive(Clone)]
pub struct Profiling {
    /// Sets the log verbosity, as `-v` does.
    pub set_verbosity: Arc<dyn Fn(u32) + Send + Sync>,
}

/// The routes.
pub(crate) fn router(profiling: Profiling) -> Router {
    let set_verbosity = profiling.set_verbosity;
    let set = async move |method: Method, body: String| set_verbosity_to(&method, &body, &*set_verbosity);
    Router::new()
        .route("/debug/pprof", any(to_index))
        .route("/debug/pprof/", any(async || html(INDEX)))
        .route("/debug/pprof/profile", any(cpu))
        .route("/debug/pprof/cmdline", any(async || command_line()))
        .route("/debug/pprof/symbol", any(async || text("num_symbols: 0\n")))
        .route("/debug/pprof/threads", any(async || text(threads::table(Path::new(PROC)))))
        .route("/debug/pprof/{profile}", any(other))
        .route("/debug/flags", any(async || html(FLAGS)))
        .route("/debug/flags/", any(async || html(FLAGS)))
        .route("/debug/flags/{*other}", any(async || html(FLAGS)))
        .route("/debug/flags/v", any(set))
}

const INDEX: &str = "<!DOCTYPE html>\n<title>/debug/pprof/</title>\n<h1>/debug/pprof/</h1>\n<ul>\n\
    <li><a href=\"cmdline\">cmdline</a>: the command line, parts separated by zero bytes\n\
    <li><a href=\"profile?seconds=10\">profile</a>: CPU time of each thread for ?seconds=N, for go tool pprof\n\
    <li><a href=\"symbol\">symbol</a>: always empty\n\
    <li><a href=\"threads\">threads</a>: each thread with its state and CPU time so far\n</ul>\n";

fn html(page: &'static str) -> Response {
    respond(StatusCode::OK, "text/html; charset=utf-8", page)
}

async fn to_index() -> Response {
    const INDEX: HeaderValue = HeaderValue::from_static("/debug/pprof/");
    const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
    let headers = [(LOCATION, INDEX), (CONTENT_TYPE, HTML)];
    (StatusCode::FOUND, headers, "<a href=\"/debug/pprof/\">Found</a>.\n\n").into_response()
}

/// The arguments, separated by zero bytes.
fn command_line() -> Response {
    match std::fs::read(Path::new(PROC).join("self/cmdline")) {
        Ok(mut arguments) => {
            arguments.pop_if(|last| *last == 0);
            respond(StatusCode::OK, "text/plain; charset=utf-8", arguments)
        }
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
    }
}

/// A profile that starts now.
async fn cpu(RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let requested = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "seconds");
    // As in Go, an invalid number means the default.
    let seconds = requested.and_then(|(_, seconds)| seconds.parse().ok()).filter(|seconds| *seconds > 0);
    let seconds = seconds.unwrap_or(SECONDS);
    if seconds > MAX_SECONDS {
        let message = format!("a profile may take up to {MAX_SECONDS} seconds");
        return error(StatusCode::BAD_REQUEST, &message);
    }
    let profile = Profile::take(Path::new(PROC), Duration::from_secs(seconds)).await;
    let mut response = respond(StatusCode::OK, "application/octet-stream", profile.encode());
    let attachment = HeaderValue::from_static("attachment; filename=\"profile\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, attachment);
    response
}

/// An unknown profile.
async fn other(Parameter(profile): Parameter<String>) -> Response {
    if GO_PROFILES.contains(&profile.as_str()) {
        let message = format!("{profile} is a profile of Go's runtime, which this program does not have");
        return error(StatusCode::NOT_IMPLEMENTED, &message);
    }
    error(StatusCode::NOT_FOUND, "Unknown profile")
}

/// The index of `/debug/flags/`.
const FLAGS: &str = "<!DOCTYPE html>\n<title>/debug/flags/</title>\n<h1>/debug/flags/</h1>\n<ul>\n\
    <li><a href=\"/debug/flags/v\">v</a>: PUT a number to set the log verbosity\n</ul>\n";

/// `/debug/flags/v`: sets the log verbosity to the number in `body`; a negative one means 0.
fn set_verbosity_to(method: &Method, body: &str, set_verbosity: &(dyn Fn(u32) + Send + Sync)) -> Response {
    if method != Method::PUT {
        return error(StatusCode::NOT_ACCEPTABLE, "unsupported http method");
    }
    match body.parse::<i32>() {
        Ok(verbosity) => {
            set_verbosity(u32::try_from(verbosity).unwrap_or(0));
            // Go writes this like an error, with a newline.
            error(StatusCode::OK, &format!("successfully set klog.logging.verbosity to {body}"))
        }
        Err(problem) => {
            let message = format!("failed to set klog.logging.verbosity to {body:?}: {problem}");
            error(StatusCode::BAD_REQUEST, &message)
        }
    }
}

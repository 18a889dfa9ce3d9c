//! `/debug/…`: where the CPU time goes, and how much is logged.
//!
//! The paths are those that `go tool pprof` and its users know. What they tell is per
//! thread: `docs/decisions/0013-profiles-by-thread.md` says why there are no stacks. What
//! only makes sense for Go answers 501 and says so.

mod profile;
mod threads;
mod verbosity;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as Parameter, RawQuery};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LOCATION};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::response::{error, respond, text};
use profile::Profile;

/// Where the kernel tells about processes.
const PROC: &str = "/proc";

/// How long a profile takes unless told otherwise, as in Go.
const SECONDS: u64 = 30;

/// The longest profile. Whoever wants more can ask again.
const MOST_SECONDS: u64 = 3600;

/// Profiles of Go's runtime, which has no counterpart here.
const GO_PROFILES: [&str; 7] = ["allocs", "block", "goroutine", "heap", "mutex", "threadcreate", "trace"];

/// What `/debug/…` may do.
#[derive(Clone)]
pub struct Profiling {
    /// Sets how much is logged, as `-v` does.
    pub set_verbosity: Arc<dyn Fn(u32) + Send + Sync>,
}

/// The routes.
pub(crate) fn router(profiling: Profiling) -> Router {
    let set_verbosity = profiling.set_verbosity;
    let set = async move |method: Method, body: String| verbosity::put(&method, &body, &*set_verbosity);
    Router::new()
        .route("/debug/pprof", any(to_index))
        .route("/debug/pprof/", any(async || html(INDEX)))
        .route("/debug/pprof/profile", any(cpu))
        .route("/debug/pprof/cmdline", any(async || command_line()))
        .route("/debug/pprof/symbol", any(async || text("num_symbols: 0\n")))
        .route("/debug/pprof/threads", any(async || text(threads::table(Path::new(PROC)))))
        .route("/debug/pprof/{profile}", any(other))
        .route("/debug/flags", any(async || html(verbosity::INDEX)))
        .route("/debug/flags/", any(async || html(verbosity::INDEX)))
        .route("/debug/flags/{*other}", any(async || html(verbosity::INDEX)))
        .route("/debug/flags/v", any(set))
}

const INDEX: &str = "<!DOCTYPE html>\n<title>/debug/pprof/</title>\n<h1>/debug/pprof/</h1>\n<ul>\n\
    <li><a href=\"cmdline\">cmdline</a>: the command line, parts separated by zero bytes\n\
    <li><a href=\"profile?seconds=10\">profile</a>: CPU time of each thread for ?seconds=N, for go tool pprof\n\
    <li><a href=\"symbol\">symbol</a>: says that there are no symbols to look up\n\
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

/// The arguments with zero bytes between them.
fn command_line() -> Response {
    match std::fs::read(Path::new(PROC).join("self/cmdline")) {
        Ok(mut arguments) => {
            arguments.pop_if(|last| *last == 0);
            respond(StatusCode::OK, "text/plain; charset=utf-8", arguments)
        }
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
    }
}

/// A profile of the time from now on.
async fn cpu(RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let asked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "seconds");
    // As in Go, what is no number of seconds stands for the usual one.
    let seconds = asked.and_then(|(_, seconds)| seconds.parse().ok()).filter(|seconds| *seconds > 0);
    let seconds = seconds.unwrap_or(SECONDS);
    if seconds > MOST_SECONDS {
        let message = format!("a profile may take up to {MOST_SECONDS} seconds");
        return error(StatusCode::BAD_REQUEST, &message);
    }
    let profile = Profile::take(Path::new(PROC), Duration::from_secs(seconds)).await;
    let mut response = respond(StatusCode::OK, "application/octet-stream", profile.encode());
    let attachment = HeaderValue::from_static("attachment; filename=\"profile\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, attachment);
    response
}

/// A profile that is not there.
async fn other(Parameter(profile): Parameter<String>) -> Response {
    if GO_PROFILES.contains(&profile.as_str()) {
        let message = format!("{profile} tells about Go's runtime, which this program does not have");
        return error(StatusCode::NOT_IMPLEMENTED, &message);
    }
    error(StatusCode::NOT_FOUND, "Unknown profile")
}

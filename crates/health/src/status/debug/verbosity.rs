//! `/debug/flags/v`: how much is logged.

use axum::http::{Method, StatusCode};
use axum::response::Response;

use crate::response::error;

/// What may be set.
pub(crate) const INDEX: &str = "<!DOCTYPE html>\n<title>/debug/flags/</title>\n<h1>/debug/flags/</h1>\n<ul>\n\
    <li><a href=\"/debug/flags/v\">v</a>: PUT a number to set how much is logged\n</ul>\n";

/// Sets the verbosity to the number in `body`; one below zero is as quiet as zero.
pub(crate) fn put(method: &Method, body: &str, set_verbosity: &(dyn Fn(u32) + Send + Sync)) -> Response {
    if method != Method::PUT {
        return error(StatusCode::NOT_ACCEPTABLE, "unsupported http method");
    }
    match body.parse::<i32>() {
        Ok(verbosity) => {
            set_verbosity(u32::try_from(verbosity).unwrap_or(0));
            // Go ends even what went well with a line feed here.
            error(StatusCode::OK, &format!("successfully set klog.logging.verbosity to {body}"))
        }
        Err(problem) => {
            let message = format!("failed to set klog.logging.verbosity to {body:?}: {problem}");
            error(StatusCode::BAD_REQUEST, &message)
        }
    }
}

//! `Status` objects: how the API says no.

use serde_json::{Value, json};

/// A failure with its HTTP status, in the words of a real server.
pub(super) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    })
}

/// The answer of a server that rejects a request before it processes it.
pub(super) fn refusal(code: u16, resource: &str) -> Value {
    match code {
        401 => failure(401, "Unauthorized", "Unauthorized"),
        403 => {
            let message = format!(
                "{resource} is forbidden: User \"system:anonymous\" cannot list resource \"{resource}\" in API group \"\" at the cluster scope"
            );
            failure(403, "Forbidden", &message)
        }
        404 => failure(404, "NotFound", "the server could not find the requested resource"),
        429 => {
            let mut status = failure(
                429,
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            );
            status["details"] = json!({"retryAfterSeconds": 1});
            status
        }
        _ => failure(code, "InternalError", "an error on the server prevented the request from succeeding"),
    }
}

/// 410 for a `continue` token; it offers another that would give an inconsistent list.
pub(super) fn continue_expired() -> Value {
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    let mut status = failure(410, "Expired", message);
    status["metadata"]["continue"] = json!("inconsistent");
    status
}

/// 410 for a watch from a version that is no longer known.
pub(super) fn watch_expired(wanted: u64, oldest: u64) -> Value {
    failure(410, "Expired", &format!("too old resource version: {wanted} ({oldest})"))
}

/// The storage cannot do streamed lists.
pub(super) fn no_streamed_lists() -> Value {
    let message = "a watch stream was requested by the client but the required storage feature RequestWatchProgress is disabled";
    failure(500, "InternalError", message)
}

/// The feature gate for streamed lists is off.
pub(super) fn streamed_lists_forbidden() -> Value {
    let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    failure(422, "Invalid", message)
}

/// The version asked for lies in the future, as after a restored backup.
pub(super) fn version_too_large(wanted: u64, newest: u64) -> Value {
    let mut status =
        failure(504, "Timeout", &format!("Too large resource version: {wanted}, current: {newest}"));
    status["details"] = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1});
    status
}

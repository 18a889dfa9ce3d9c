//! Decides what to answer.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use serde_json::Value;

use super::faults::WatchFault;
use super::query::{Filter, Query, Target, Verb};
use super::{Shared, list, lock, role, status, stream};

/// A body that may end in an error, which breaks the connection.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// Answers one request.
pub(super) async fn respond(shared: Arc<Shared>, request: Request<Incoming>, client: &str) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let query = Query::of(&parts, client);
    lock(&shared.requests).push(query.request.clone());
    if !shared.faults.knows(&query.request) {
        return failure(&status::refusal(401, ""));
    }
    if role::forbids(&shared, &query.request) {
        return failure(&status::refusal(403, &query.request.resource));
    }
    let refusal = *lock(&shared.faults.refusal);
    let refused =
        refusal.filter(|refusal| refusal.resource.is_empty() || refusal.resource == query.request.resource);
    if let Some(refusal) = refused {
        let mut response = failure(&status::refusal(refusal.status, &query.request.resource));
        if let Some(value) = lock(&shared.faults.retry_after).clone() {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        return response;
    }
    match (query.request.verb, query.target.clone()) {
        (verb @ (Verb::List | Verb::Watch), Target::Collection { kind, namespace }) => {
            let filter = match Filter::of(&query, namespace) {
                Ok(filter) => filter,
                Err(message) => return failure(&status::failure(400, "BadRequest", &message)),
            };
            if verb == Verb::Watch && *lock(&shared.faults.watches) == Some(WatchFault::Unanswered) {
                std::future::pending::<()>().await;
            }
            if verb == Verb::List {
                list::list(shared, kind, &query, &filter)
            } else {
                stream::watch(shared, kind, &query, filter)
            }
        }
        (Verb::Get, Target::Object { kind, namespace, name }) => {
            let stored = lock(&shared.store).get(kind, &namespace, &name);
            match stored {
                Some(stored) => json(StatusCode::OK, stored.full(kind, stored.version).into()),
                None => failure(&status::failure(
                    404,
                    "NotFound",
                    &format!("{} \"{name}\" not found", kind.resource),
                )),
            }
        }
        (Verb::Create, Target::Events(place)) if place.name.is_none() => {
            shared.events.create(&place, body).await
        }
        (Verb::Patch, Target::Events(place)) if place.name.is_some() => {
            shared.events.patch(&place, &parts, body).await
        }
        _ => failure(&status::refusal(404, "")),
    }
}

/// A `Status` with the HTTP status that it names.
pub(super) fn failure(status: &Value) -> Response<Body> {
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let code =
        code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, status.to_string().into_bytes().into())
}

/// An answer of JSON that is there already.
pub(super) fn json(code: StatusCode, body: Bytes) -> Response<Body> {
    with_body(code, Full::new(body).map_err(|never| match never {}).boxed())
}

/// An answer of JSON.
pub(super) fn with_body(code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

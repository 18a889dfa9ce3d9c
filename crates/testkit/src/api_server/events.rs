//! Events of Kubernetes, taken in only if a real server would take them.

use std::sync::Mutex;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::query::EventPlace;
use super::respond::{Body, failure, json};
use super::{ApiServer, lock, status};

mod validate;

use validate::Fault;

/// Largest Event taken, in bytes; etcd would not take more either.
const MAX_POSTED: usize = 1 << 20;

/// Media types of patches that only replace the fields they name. For an Event both mean the same.
const PATCHES: [&str; 2] = ["application/strategic-merge-patch+json", "application/merge-patch+json"];

/// All Events that there are, in the order of their making.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Vec<Value>>);

impl ApiServer {
    /// Events that clients have made, as they are now, in the order of their making.
    pub fn events(&self) -> Vec<Value> {
        lock(&self.shared.events.0).clone()
    }

    /// Forgets all Events, as a server does of each after an hour.
    pub fn forget_events(&self) {
        lock(&self.shared.events.0).clear();
    }
}

impl Events {
    /// Makes the Event that `body` describes.
    pub(super) async fn create(&self, place: &EventPlace, body: Incoming) -> Response<Body> {
        let Some(event) = read(body).await else { return unreadable() };
        let mut events = lock(&self.0);
        if let Err(fault) = validate::new_event(&event, &place.namespace) {
            return refuse(&event, &fault);
        }
        let name = event["metadata"]["name"].as_str().unwrap_or_default();
        if find(&mut events, &place.namespace, name).is_some() {
            return failure(&status::failure(
                409,
                "AlreadyExists",
                &format!("events \"{name}\" already exists"),
            ));
        }
        let answer = answer(StatusCode::CREATED, &event);
        events.push(event);
        answer
    }

    /// Changes the fields of an Event that `body` names.
    pub(super) async fn patch(&self, place: &EventPlace, parts: &Parts, body: Incoming) -> Response<Body> {
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| PATCHES.contains(&kind)) {
            let message = "the body of the request was in an unknown format";
            return failure(&status::failure(415, "UnsupportedMediaType", message));
        }
        let Some(patch) = read(body).await else { return unreadable() };
        let name = place.name.as_deref().unwrap_or_default();
        let mut events = lock(&self.0);
        let Some(event) = find(&mut events, &place.namespace, name) else {
            return failure(&status::failure(404, "NotFound", &format!("events \"{name}\" not found")));
        };
        let mut patched = event.clone();
        merge(&mut patched, &patch);
        if let Err(fault) = validate::changed_event(&patched, event) {
            return refuse(event, &fault);
        }
        *event = patched;
        answer(StatusCode::OK, event)
    }
}

fn find<'a>(events: &'a mut [Value], namespace: &str, name: &str) -> Option<&'a mut Value> {
    let is_it = |event: &&mut Value| {
        let metadata = &event["metadata"];
        metadata["namespace"] == namespace && metadata["name"] == name
    };
    events.iter_mut().find(is_it)
}

async fn read(body: Incoming) -> Option<Value> {
    let body = Limited::new(body, MAX_POSTED).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

/// Replaces what `patch` names, deep down (RFC 7386).
fn merge(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (name, change) in changes {
                if change.is_null() {
                    fields.remove(name);
                } else {
                    merge(fields.entry(name.as_str()).or_insert(Value::Null), change);
                }
            }
        }
        (value, patch) => *value = patch.clone(),
    }
}

fn unreadable() -> Response<Body> {
    failure(&status::failure(400, "BadRequest", "the object provided is unrecognized"))
}

fn refuse(event: &Value, fault: &Fault) -> Response<Body> {
    let name = event["metadata"]["name"].as_str().unwrap_or_default();
    match fault {
        Fault::OtherNamespace => {
            let message =
                "the namespace of the provided object does not match the namespace sent on the request";
            failure(&status::failure(400, "BadRequest", message))
        }
        Fault::Field { path, problem } => {
            let message = format!("Event.events.k8s.io \"{name}\" is invalid: {path}: {problem}");
            failure(&status::failure(422, "Invalid", &message))
        }
    }
}

fn answer(code: StatusCode, event: &Value) -> Response<Body> {
    json(code, Bytes::from(event.to_string()))
}

//! What a server demands of an Event of `events.k8s.io/v1`.

use serde_json::Value;

/// Longest texts, in bytes, as in Kubernetes' validation.
const LIMITS: [(&str, usize); 4] =
    [("reportingInstance", 128), ("action", 128), ("reason", 128), ("note", 1024)];

/// Texts that must be there.
const REQUIRED: [&str; 4] = ["reportingController", "reportingInstance", "action", "reason"];

/// All fields that an Event may have.
const FIELDS: [&str; 13] = [
    "apiVersion",
    "kind",
    "metadata",
    "eventTime",
    "series",
    "reportingController",
    "reportingInstance",
    "action",
    "reason",
    "regarding",
    "related",
    "note",
    "type",
];

/// Longest name of an object.
const NAME: usize = 253;

/// Why a server rejects an Event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was sent to another namespace than its own.
    OtherNamespace,
    /// A field is missing or wrong.
    Field { path: String, problem: String },
}

fn wrong(path: impl Into<String>, problem: impl Into<String>) -> Result<(), Fault> {
    Err(Fault::Field { path: path.into(), problem: problem.into() })
}

/// Checks an Event that is to be made in `namespace`.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn new_event(event: &Value, namespace: &str) -> Result<(), Fault> {
    identity(event, namespace)?;
    texts(event)?;
    regarding(event)?;
    time("eventTime", &event["eventTime"])?;
    if !matches!(event["type"].as_str(), Some("Normal" | "Warning")) {
        return wrong("type", format!("Invalid value: \"\": has invalid value: {}", event["type"]));
    }
    series(event)?;
    let strange = event.as_object().into_iter().flatten().find(|(name, _)| !FIELDS.contains(&name.as_str()));
    // Of deprecated fields a real server says this, too; of unknown ones it only warns.
    strange.map_or(Ok(()), |(name, _)| wrong(name, "needs to be unset"))
}

/// Checks an Event that was `before`.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn changed_event(event: &Value, before: &Value) -> Result<(), Fault> {
    series(event)?;
    let same = |field: &&&str| event[**field] == before[**field];
    match FIELDS.iter().filter(|field| **field != "series").find(|field| !same(field)) {
        Some(field) => wrong(*field, "Invalid value: field is immutable"),
        None => Ok(()),
    }
}

fn identity(event: &Value, namespace: &str) -> Result<(), Fault> {
    if event["kind"] != "Event" || event["apiVersion"] != "events.k8s.io/v1" {
        return wrong("kind", format!("Invalid value: {}", event["kind"]));
    }
    let metadata = &event["metadata"];
    if metadata["namespace"].as_str().is_some_and(|own| own != namespace) {
        return Err(Fault::OtherNamespace);
    }
    let name = metadata["name"].as_str().unwrap_or_default();
    let part = |part: &str| {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty() && part.chars().all(inside) && !part.starts_with('-') && !part.ends_with('-')
    };
    if name.len() > NAME || !name.split('.').all(part) {
        return wrong("metadata.name", format!("Invalid value: {name:?}"));
    }
    Ok(())
}

fn texts(event: &Value) -> Result<(), Fault> {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    if let Some(missing) = REQUIRED.iter().find(|field| text(field).is_empty()) {
        return wrong(*missing, "Required value");
    }
    match LIMITS.iter().find(|(field, limit)| text(field).len() > *limit) {
        Some((field, limit)) => wrong(*field, format!("Invalid value: can have at most {limit} characters")),
        None => Ok(()),
    }
}

fn regarding(event: &Value) -> Result<(), Fault> {
    let own = event["metadata"]["namespace"].as_str().unwrap_or_default();
    let fits = match event["regarding"]["namespace"].as_str() {
        None | Some("") => ["default", "kube-system"].contains(&own),
        Some(namespace) => namespace == own,
    };
    if fits { Ok(()) } else { wrong("involvedObject.namespace", "does not match event.namespace") }
}

fn series(event: &Value) -> Result<(), Fault> {
    let series = &event["series"];
    if series.is_null() {
        return Ok(());
    }
    if series["count"].as_u64().unwrap_or_default() < 2 {
        return wrong("series.count", "Invalid value: should be at least 2");
    }
    time("series.lastObservedTime", &series["lastObservedTime"])
}

/// Checks a `MicroTime`, which its reader takes with exactly six digits after the point.
fn time(path: &str, time: &Value) -> Result<(), Fault> {
    let pattern = "0000-00-00T00:00:00.000000Z";
    let text = time.as_str().unwrap_or_default();
    if text.is_empty() {
        return wrong(path, "Required value");
    }
    let like = |(c, p): (char, char)| if p == '0' { c.is_ascii_digit() } else { c == p };
    let fits = text.len() == pattern.len() && text.chars().zip(pattern.chars()).all(like);
    if fits { Ok(()) } else { wrong(path, format!("Invalid value: {text:?} is no MicroTime")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": "n1.17f", "namespace": "default"},
            "eventTime": "2026-11-21T09:30:00.123456Z",
            "reportingController": "kube-proxy", "reportingInstance": "kube-proxy-n1",
            "action": "StartKubeProxy", "reason": "Starting", "type": "Normal",
            "regarding": {"kind": "Node", "name": "n1", "apiVersion": "v1"},
        })
    }

    fn verdict(change: impl FnOnce(&mut Value)) -> String {
        let mut event = event();
        change(&mut event);
        match new_event(&event, "default") {
            Ok(()) => String::new(),
            Err(Fault::OtherNamespace) => "other namespace".into(),
            Err(Fault::Field { path, problem }) => format!("{path}: {problem}"),
        }
    }

    #[test]
    fn an_event_of_kube_proxy_is_fine() {
        assert_eq!(verdict(|_| {}), "");
        let series = json!({"count": 2, "lastObservedTime": "2026-11-21T09:30:00.000000Z"});
        assert_eq!(verdict(|event| event["series"] = series), "");
        assert_eq!(verdict(|event| event["note"] = "ä".repeat(512).into()), "");
    }

    #[test]
    fn events_that_a_server_rejects_are_rejected() {
        let cases: [(&str, Value, &str); 13] = [
            ("/reason", json!(""), "reason: Required"),
            ("/action", json!("x".repeat(129)), "action: Invalid"),
            ("/note", json!("ä".repeat(513)), "note: Invalid"),
            ("/type", json!("Error"), "type: Invalid"),
            ("/eventTime", json!("2026-11-21T09:30:00Z"), "eventTime: Invalid"),
            ("/eventTime", Value::Null, "eventTime: Required"),
            ("/metadata/name", json!("N1.1"), "metadata.name"),
            ("/metadata/name", json!("n1-.1"), "metadata.name"),
            ("/metadata/namespace", json!("shop"), "other namespace"),
            ("/regarding/namespace", json!("shop"), "involvedObject.namespace"),
            (
                "/series",
                json!({"count": 1, "lastObservedTime": "2026-11-21T09:30:00.000000Z"}),
                "series.count",
            ),
            ("/series", json!({"count": 2}), "series.lastObservedTime"),
            ("/count", json!(3), "count: needs to be unset"),
        ];
        for (path, value, expected) in cases {
            let (parent, field) = path.rsplit_once('/').unwrap();
            let said = verdict(|event| event.pointer_mut(parent).unwrap()[field] = value.clone());
            assert!(said.starts_with(expected), "{path} = {value}: {said:?}");
        }
    }

    #[test]
    fn only_the_series_of_an_event_may_change() {
        let series = json!({"count": 3, "lastObservedTime": "2026-11-21T09:30:00.000000Z"});
        let changed = |field: &str, value: &Value| {
            let mut changed = event();
            changed[field] = value.clone();
            changed_event(&changed, &event())
        };
        assert_eq!(changed("series", &series), Ok(()));
        assert!(changed("series", &json!({"count": 3})).is_err());
        for field in FIELDS.into_iter().filter(|field| *field != "series") {
            assert!(changed(field, &json!("other")).is_err(), "{field}");
        }
    }
}

//! Reads the events of a watch.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::{Failure, Refusal};
use crate::decode::Identity;
use crate::wire::{Head, Text};

/// One event, as far as it can be read without knowing the kind.
#[derive(Debug)]
pub(super) enum WatchEvent<'a> {
    /// An object came.
    Added(&'a [u8]),
    /// An object changed.
    Modified(&'a [u8]),
    /// An object went, or is not selected any more.
    Deleted(Box<Head<'a>>),
    /// Nothing happened up to a version.
    Bookmark { version: Option<Text<'a>>, ends_initial_events: bool },
    /// The watch is over.
    Error(Refusal),
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
#[error("has an event that cannot be read, about {name}: {reason}")]
pub(super) struct BadLine {
    /// What is wrong with it.
    reason: String,
    /// Which object it seems to be about.
    name: Identity,
}

impl From<BadLine> for Failure {
    fn from(bad: BadLine) -> Self {
        Self::garbled(bad.to_string())
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    event: Text<'a>,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl<'a> WatchEvent<'a> {
    /// Reads one line.
    ///
    /// # Errors
    /// It is no JSON, or no event that we know.
    pub(super) fn read(line: &'a [u8]) -> Result<Self, BadLine> {
        let bad = |reason: String| BadLine { reason, name: name_in(line) };
        let envelope: Envelope<'a> = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
        let object = envelope.object.get();
        let head = || serde_json::from_str::<Head<'a>>(object).map_err(|error| bad(error.to_string()));
        match &*envelope.event {
            "ADDED" => Ok(Self::Added(object.as_bytes())),
            "MODIFIED" => Ok(Self::Modified(object.as_bytes())),
            "DELETED" => Ok(Self::Deleted(Box::new(head()?))),
            "BOOKMARK" => {
                let metadata = head()?.metadata;
                let ends_initial_events = metadata.annotations.initial_events_end.is_some();
                Ok(Self::Bookmark { version: metadata.resource_version, ends_initial_events })
            }
            "ERROR" => Ok(Self::Error(Refusal::read(None, object.as_bytes()))),
            other => Err(bad(format!("{other:?} is no type of event"))),
        }
    }
}

/// The object of a line that may be anything.
fn name_in(line: &[u8]) -> Identity {
    let value = serde_json::from_slice::<serde_json::Value>(line).unwrap_or_default();
    Identity::of(&value["object"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_testkit::fixtures;

    fn kinds(stream: &str) -> Vec<String> {
        let brief = |line: &str| match WatchEvent::read(line.as_bytes()).unwrap() {
            WatchEvent::Added(_) => "added".to_owned(),
            WatchEvent::Modified(_) => "modified".to_owned(),
            WatchEvent::Deleted(head) => format!("deleted {}", &*head.metadata.name.unwrap()),
            WatchEvent::Bookmark { version, ends_initial_events } => {
                format!("bookmark {} {ends_initial_events}", &*version.unwrap())
            }
            WatchEvent::Error(refusal) => format!("error {} {}", refusal.code, refusal.is_expired()),
        };
        stream.lines().map(brief).collect()
    }

    #[test]
    fn real_streams_are_read() {
        assert_eq!(
            kinds(fixtures::WATCH_SERVICES),
            ["added", "modified", "deleted web", "bookmark 31135 false", "bookmark 31135 false"]
        );
        assert_eq!(
            kinds(fixtures::WATCH_ENDPOINT_SLICES),
            ["added", "modified", "deleted web-abc", "bookmark 31140 false", "bookmark 31140 false"]
        );
        assert_eq!(kinds(fixtures::WATCH_EXPIRED), ["error 410 true"]);
        assert_eq!(kinds(fixtures::WATCH_LIST_UNSUPPORTED), ["error 500 false"]);
    }

    #[test]
    fn the_end_of_initial_events_is_seen() {
        let line = r#"{"type":"BOOKMARK","object":{"kind":"Node","metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        assert_eq!(kinds(line), ["bookmark 5 true"]);
    }

    #[test]
    fn a_line_that_is_no_event_is_named_if_it_can_be() {
        let error =
            WatchEvent::read(br#"{"type":"RENAMED","object":{"metadata":{"name":"a"}}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "has an event that cannot be read, about a: \"RENAMED\" is no type of event"
        );
        assert!(WatchEvent::read(b"nonsense").is_err());
        assert!(WatchEvent::read(br#"{"type":"ADDED"}"#).is_err());
    }
}

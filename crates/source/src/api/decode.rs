//! Decodes the responses to lists and watches.
//!
//! The only part of the API source that depends on the encoding of objects: [`ListParser`] and [`WatchStream`] cut a
//! response body into objects, [`Decoder`] turns each into one of the core's.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use portolan_core::name::Interner;
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{error, warn};

use super::failure::{Failure, Rejection};
use crate::convert::{Converted, Converter, Key as _, Origin, Resource};
use crate::decode::{PartialName, decode};
use crate::metrics::{Count, SourceMetrics};
use crate::wire::{MetadataOnly, Text};

mod list;
mod watch;

pub(super) use list::ListParser;
pub(super) use watch::WatchStream;

/// Largest object taken, in bytes. etcd holds no object over 1.5 MiB (its `--max-request-bytes`), and JSON is a few
/// times the size of what it holds.
const MAX_OBJECT: usize = 32 << 20;

/// Problems of one object that are logged one by one; of further ones only the number is.
const MAX_LOGGED_PROBLEMS: usize = 5;

/// A decoded object.
#[derive(Debug)]
pub(super) enum Decoded<T: Resource> {
    Present(T),
    /// It does not exist, or this proxy does not serve it.
    Absent(T::Key),
    /// It exists and cannot be decoded, which has been logged and counted.
    Malformed(Option<T::Key>),
}

/// One event of a watch.
#[derive(Debug)]
pub(super) enum WatchEvent<'a, T: Resource> {
    Object {
        object: Decoded<T>,
        /// Whether the event is `ADDED`, as all initial events of a streamed list are.
        is_added: bool,
        version: Option<Cow<'a, str>>,
    },
    Bookmark {
        version: Option<Cow<'a, str>>,
        ends_initial_events: bool,
    },
}

/// Turns encoded objects into the core's.
#[derive(Debug)]
pub(super) struct Decoder {
    converter: Converter,
    server: Arc<str>,
    metrics: Arc<SourceMetrics>,
}

impl Decoder {
    pub(super) fn new(server: Arc<str>, metrics: Arc<SourceMetrics>, names: Arc<Mutex<Interner>>) -> Self {
        Self { converter: Converter::new(Origin::Api, names), server, metrics }
    }

    /// Decodes one object and its version.
    ///
    /// # Errors
    /// It has no name, so it is not known which object is meant.
    pub(super) fn object<'a, T: Resource>(
        &mut self,
        json: &'a [u8],
    ) -> Result<(Decoded<T>, Option<Cow<'a, str>>), Failure> {
        let decoded = decode::<T>(json, &mut self.converter);
        self.log_problems();
        match decoded {
            Ok((converted, wire)) => {
                let version = T::metadata(&wire).resource_version.clone();
                let object = match converted {
                    Converted::Proxied(object) => Decoded::Present(object),
                    Converted::NotProxied(key) => Decoded::Absent(key),
                };
                Ok((object, version.map(Text::into_inner)))
            }
            Err(malformed) => {
                self.metrics.add_error(Count::Malformed, T::KIND);
                let server = &*self.server;
                error!(server, err = %malformed, "Malformed object; its last good version remains in effect");
                let PartialName { namespace, name, version } = malformed.name;
                let name = name.ok_or_else(|| Failure::invalid("has an object without a name"))?;
                let key = T::Key::of(namespace.as_deref(), Some(&name));
                Ok((Decoded::Malformed(key), version.map(|version| String::from(version).into())))
            }
        }
    }

    /// Decodes one event of a watch.
    ///
    /// # Errors
    /// It is an error of the server, or cannot be decoded.
    pub(super) fn event<'a, T: Resource>(&mut self, line: &'a [u8]) -> Result<WatchEvent<'a, T>, Failure> {
        let Envelope { event, object } = Envelope::read(line)?;
        let json = object.get().as_bytes();
        let is_added = &*event == "ADDED";
        if is_added || &*event == "MODIFIED" {
            let (object, version) = self.object(json)?;
            return Ok(WatchEvent::Object { object, is_added, version });
        }
        let MetadataOnly { metadata } =
            serde_json::from_slice(json).map_err(|error| bad_event(line, &error.to_string()))?;
        let version = metadata.resource_version.clone().map(Text::into_inner);
        match &*event {
            "DELETED" => {
                let key = T::Key::of(metadata.namespace.as_deref(), metadata.name.as_deref());
                let key = key.ok_or_else(|| Failure::invalid("has an object without a name"))?;
                Ok(WatchEvent::Object { object: Decoded::Absent(key), is_added, version })
            }
            "BOOKMARK" => {
                let ends_initial_events = metadata.annotations.initial_events_end.is_some();
                Ok(WatchEvent::Bookmark { version, ends_initial_events })
            }
            other => Err(bad_event(line, &format!("unknown event type {other:?}"))),
        }
    }

    fn log_problems(&mut self) {
        let problems = self.converter.take_problems();
        let server = &*self.server;
        for (index, problem) in problems.iter().enumerate() {
            self.metrics.add_error(Count::Problems, problem.kind);
            if index < MAX_LOGGED_PROBLEMS {
                warn!(server, err = %problem, "Ignored part of an object");
            }
        }
        if let (Some(more @ 1..), Some(last)) =
            (problems.len().checked_sub(MAX_LOGGED_PROBLEMS), problems.last())
        {
            warn!(
                server,
                object = format!("{} {}", last.kind, last.object),
                more,
                "Ignored more parts of an object"
            );
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    event: Text<'a>,
    object: &'a RawValue,
}

impl<'a> Envelope<'a> {
    /// Reads an event as far as possible without its kind.
    ///
    /// # Errors
    /// It is no JSON, or an error of the server.
    fn read(line: &'a [u8]) -> Result<Self, Failure> {
        let envelope: Self =
            serde_json::from_slice(line).map_err(|error| bad_event(line, &error.to_string()))?;
        if &*envelope.event == "ERROR" {
            return Err(Failure::Rejected(Rejection::read(None, envelope.object.get().as_bytes())));
        }
        Ok(envelope)
    }
}

fn bad_event(line: &[u8], reason: &str) -> Failure {
    let value = serde_json::from_slice::<serde_json::Value>(line).unwrap_or_default();
    let object = PartialName::of(&value["object"]);
    Failure::invalid(format!("has an event that cannot be read, about {object}: {reason}"))
}

#[cfg(test)]
mod tests {
    use portolan_core::event::{EndpointSlice, Node, Service};
    use portolan_testkit::fixtures;

    use super::*;

    fn event<T: Resource>(line: &str) -> Result<String, Failure> {
        let mut decoder = Decoder::new("test".into(), Arc::default(), Arc::default());
        Ok(match decoder.event::<T>(line.as_bytes())? {
            WatchEvent::Object { object: Decoded::Absent(key), .. } => format!("deleted {key}"),
            WatchEvent::Object { is_added: true, .. } => "added".to_owned(),
            WatchEvent::Object { .. } => "modified".to_owned(),
            WatchEvent::Bookmark { version, ends_initial_events } => {
                format!("bookmark {} {ends_initial_events}", version.unwrap())
            }
        })
    }

    fn events<T: Resource>(stream: &str) -> Vec<String> {
        stream.lines().map(|line| event::<T>(line).unwrap()).collect()
    }

    #[test]
    fn real_streams_are_decoded() {
        assert_eq!(
            events::<Service>(fixtures::WATCH_SERVICES),
            ["added", "modified", "deleted default/web", "bookmark 31135 false", "bookmark 31135 false"]
        );
        assert_eq!(
            events::<EndpointSlice>(fixtures::WATCH_ENDPOINT_SLICES),
            ["added", "modified", "deleted default/web-abc", "bookmark 31140 false", "bookmark 31140 false"]
        );
        let expired = event::<Service>(fixtures::WATCH_EXPIRED).unwrap_err();
        assert!(expired.is_status(410) && expired.is_expired(), "{expired}");
        let unsupported = event::<Service>(fixtures::WATCH_LIST_UNSUPPORTED).unwrap_err();
        assert!(unsupported.is_status(500) && !unsupported.is_expired(), "{unsupported}");
    }

    #[test]
    fn the_end_of_initial_events_is_seen() {
        let line = r#"{"type":"BOOKMARK","object":{"kind":"Node","metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        assert_eq!(events::<Node>(line), ["bookmark 5 true"]);
    }

    #[test]
    fn a_line_that_is_no_event_names_its_object_if_possible() {
        let error = event::<Node>(r#"{"type":"RENAMED","object":{"metadata":{"name":"a"}}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the response has an event that cannot be read, about a: unknown event type \"RENAMED\""
        );
        assert!(event::<Node>("nonsense").is_err());
        assert!(event::<Node>(r#"{"type":"ADDED"}"#).is_err());
    }
}

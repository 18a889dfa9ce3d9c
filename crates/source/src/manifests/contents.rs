//! The objects of one file, as those of the core.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use portolan_core::event::{EndpointSlice, Node, Object, Service, ServiceCidr};
use portolan_core::name::{Name, ObjectName};
use tracing::{error, warn};

use super::document::{Location, Manifest, Parsed};
use crate::convert::{Converted, Converter, DEFAULT_NAMESPACE, Key, Problem, Resource};
use crate::decode::{Malformed, decode, object_from_json};
use crate::metrics::{Count, SourceMetrics};

/// Messages of one kind that are logged about one object or file; of further ones only the number is.
const MAX_LOGGED: usize = 5;

/// Objects of one kind by key; nothing for one that exists but is not proxied.
pub(super) type Objects<T> = BTreeMap<<T as Object>::Key, Option<Arc<T>>>;

/// Decodes and converts JSON text to the key and the value of an object.
type Convert<K, V> = fn(&mut Converter, &[u8]) -> Result<(K, V), Malformed>;

/// The objects that one file defines.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) services: Objects<Service>,
    pub(super) slices: Objects<EndpointSlice>,
    /// Endpoints objects by Service, as slices.
    pub(super) endpoints: BTreeMap<ObjectName, Vec<Arc<EndpointSlice>>>,
    pub(super) nodes: Objects<Node>,
    pub(super) service_cidrs: Objects<ServiceCidr>,
    /// Rejected objects of which no good version is known, each with the reason.
    pub(super) unread: Vec<String>,
}

/// Converts the objects of one file to [`Contents`], and logs what is left out.
pub(super) struct Reading<'a> {
    pub(super) file: &'a Path,
    pub(super) node_name: &'a Name,
    pub(super) converter: &'a mut Converter,
    pub(super) metrics: &'a SourceMetrics,
    /// The objects that the file defined before. One that is rejected now keeps that version.
    pub(super) before: &'a Contents,
}

impl Reading<'_> {
    pub(super) fn read(mut self, parsed: Parsed) -> Contents {
        let mut contents = Contents::default();
        for object in parsed.objects {
            if let Some((given, read_as)) = &object.version {
                let (file, Location { document, line }) = (self.file.display(), object.location);
                warn!(%file, document, line, apiVersion = given, readAs = read_as, "Unknown apiVersion of a known kind");
            }
            self.add_object(&object, &mut contents);
        }
        for (kind, (Location { document, line }, count)) in parsed.others.iter().take(MAX_LOGGED) {
            let file = self.file.display();
            warn!(%file, document, line, kind, count, "Ignored objects of a kind that is not read from manifests");
        }
        if let Some(more @ 1..) = parsed.others.len().checked_sub(MAX_LOGGED) {
            warn!(file = %self.file.display(), kinds = more, "Ignored objects of more kinds");
        }
        contents
    }

    fn add_object(&mut self, object: &Manifest, contents: &mut Contents) {
        let Contents { services, slices, endpoints, nodes, service_cidrs, unread } = contents;
        let before = self.before;
        let fault = match object.kind {
            Service::KIND => self.add(object, convert::<Service>, &before.services, services),
            EndpointSlice::KIND => self.add(object, convert::<EndpointSlice>, &before.slices, slices),
            Node::KIND => self.add(object, convert::<Node>, &before.nodes, nodes),
            ServiceCidr::KIND => {
                self.add(object, convert::<ServiceCidr>, &before.service_cidrs, service_cidrs)
            }
            _ => self.add(object, convert_endpoints, &before.endpoints, endpoints),
        };
        unread.extend(fault);
    }

    /// Adds an object to `now`. An object that an API server would reject keeps its version in `before`; if there is
    /// none, returns why it is rejected.
    fn add<K: Key + Ord + Clone + Display, V: Clone>(
        &mut self,
        object: &Manifest,
        convert: Convert<K, V>,
        before: &BTreeMap<K, V>,
        now: &mut BTreeMap<K, V>,
    ) -> Option<String> {
        let converted = convert(self.converter, &object.json);
        let problems = self.converter.take_problems();
        let (invalid, unused): (Vec<_>, Vec<_>) =
            problems.into_iter().partition(|problem| problem.is_invalid);
        let (key, name, faults) = match converted {
            Ok((key, value)) if invalid.is_empty() => {
                self.log_unused(object, &unused);
                self.insert(object, key, value, now);
                return None;
            }
            Ok((key, _)) => {
                let name = key.to_string();
                (
                    Some(key),
                    name,
                    invalid.into_iter().map(|problem| (problem.field, problem.reason)).collect(),
                )
            }
            Err(Malformed { name, field, reason, .. }) => {
                let namespace = name.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
                let key = K::of(Some(namespace), name.name.as_deref());
                let name = key.as_ref().map_or_else(|| name.to_string(), K::to_string);
                (key, name, vec![(field, reason)])
            }
        };
        self.metrics.add_error(Count::Malformed, object.kind);
        // Other Nodes are not used.
        let is_other_node = object.kind == Node::KIND && key.is_some() && name != **self.node_name;
        let earlier = key.as_ref().and_then(|key| before.get(key)).cloned();
        let is_kept = earlier.is_some();
        self.log_rejected(object, &name, &faults, is_kept);
        if let (Some(key), Some(earlier)) = (key, earlier) {
            now.entry(key).or_insert(earlier);
        }
        let (field, reason) = faults.first().filter(|_| !is_kept && !is_other_node)?;
        let (file, Manifest { kind, location, .. }) = (self.file.display(), object);
        Some(format!("{file}: {location}: {kind} {name}: {field}: {reason}"))
    }

    fn insert<K: Ord + Display, V>(&self, object: &Manifest, key: K, value: V, now: &mut BTreeMap<K, V>) {
        match now.entry(key) {
            Entry::Vacant(entry) => _ = entry.insert(value),
            Entry::Occupied(first) => {
                let (file, Location { document, line }) = (self.file.display(), object.location);
                let object = format!("{} {}", object.kind, first.key());
                warn!(%file, document, line, object, "Object is defined twice in this file; the first definition is used");
            }
        }
    }

    /// Logs entries that are valid and not used.
    fn log_unused(&self, object: &Manifest, problems: &[Problem]) {
        let (file, Location { document, line }) = (self.file.display(), object.location);
        for _ in problems {
            self.metrics.add_error(Count::Problems, object.kind);
        }
        for Problem { kind, object, field, reason, .. } in problems.iter().take(MAX_LOGGED) {
            let object = format!("{kind} {object}");
            warn!(%file, document, line, object, field, err = reason, "Ignored part of an object");
        }
        if let (Some(more @ 1..), [Problem { kind, object, .. }, ..]) =
            (problems.len().checked_sub(MAX_LOGGED), problems)
        {
            let object = format!("{kind} {object}");
            warn!(%file, document, line, object, more, "Ignored more parts of an object");
        }
    }

    fn log_rejected(&self, object: &Manifest, name: &str, faults: &[(String, String)], is_kept: bool) {
        let effect = if is_kept {
            "Rejected object; its last good version remains in effect"
        } else {
            "Rejected object; no good version of it is known"
        };
        let (file, Location { document, line }) = (self.file.display(), object.location);
        let object = format!("{} {name}", object.kind);
        for (field, err) in faults.iter().take(MAX_LOGGED) {
            error!(%file, document, line, object, field, err, "{effect}");
        }
        if let Some(more @ 1..) = faults.len().checked_sub(MAX_LOGGED) {
            error!(%file, document, line, object, more, "Rejected object has more faults");
        }
    }
}

fn convert<T: Resource>(
    converter: &mut Converter,
    json: &[u8],
) -> Result<(T::Key, Option<Arc<T>>), Malformed> {
    Ok(match decode::<T>(json, converter)?.0 {
        Converted::Proxied(value) => (value.key().clone(), Some(Arc::new(value))),
        Converted::NotProxied(key) => (key, None),
    })
}

fn convert_endpoints(
    converter: &mut Converter,
    json: &[u8],
) -> Result<(ObjectName, Vec<Arc<EndpointSlice>>), Malformed> {
    let (name, slices) = converter.endpoints(&object_from_json("Endpoints", json)?)?;
    Ok((name, slices.into_iter().map(Arc::new).collect()))
}

//! The objects of one file, as those of the core.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use portolan_core::event::{EndpointSlice, Node, Object, Service, ServiceCidr};
use portolan_core::name::{Name, ObjectName};
use tracing::{error, warn};

use super::document::{Manifest, Parsed, Place};
use crate::convert::{Converted, Converter, DEFAULT_NAMESPACE, Problem};
use crate::decode::{Identity, Malformed, decode, object_from_json};
use crate::metrics::{Count, SourceMetrics};
use crate::resource::{Key, Resource};
use crate::wire;

/// Messages of one kind that are logged about one object or file; of further ones only the number is.
const MAX_LOGGED: usize = 5;

/// Objects of one kind by key; nothing for one that exists but is not proxied.
pub(super) type Objects<T> = BTreeMap<<T as Object>::Key, Option<Arc<T>>>;

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

/// Turns the objects of one file into [`Contents`].
pub(super) struct Reading<'a> {
    pub(super) file: &'a Path,
    pub(super) node_name: &'a Name,
    pub(super) converter: &'a mut Converter,
    pub(super) metrics: &'a SourceMetrics,
    /// What the file defined before. An object that is rejected now keeps that version.
    pub(super) before: &'a Contents,
}

/// An object that an API server would reject.
struct Rejected {
    kind: &'static str,
    name: Identity,
    /// Fields with what is wrong with them.
    faults: Vec<(String, String)>,
}

impl From<Malformed> for Rejected {
    fn from(malformed: Malformed) -> Self {
        let Malformed { kind, name, field, reason } = malformed;
        Self { kind, name, faults: vec![(field, reason)] }
    }
}

impl Reading<'_> {
    /// Converts everything, and logs what is left out.
    pub(super) fn read(mut self, parsed: Parsed) -> Contents {
        let mut contents = Contents::default();
        for object in parsed.objects {
            if let Some((given, read_as)) = &object.version {
                let (file, Place { document, line }) = (self.file.display(), object.place);
                warn!(%file, document, line, apiVersion = given, readAs = read_as, "Unknown apiVersion of a known kind");
            }
            if let Err(rejected) = self.take(&object, &mut contents) {
                self.metrics.add_error(Count::Malformed, rejected.kind);
                self.reject(rejected, object.place, &mut contents);
            }
        }
        for (kind, (Place { document, line }, count)) in parsed.others.iter().take(MAX_LOGGED) {
            let file = self.file.display();
            warn!(%file, document, line, kind, count, "Ignored objects of a kind that is not read from manifests");
        }
        if let Some(more @ 1..) = parsed.others.len().checked_sub(MAX_LOGGED) {
            warn!(file = %self.file.display(), kinds = more, "Ignored objects of more kinds");
        }
        contents
    }

    fn take(&mut self, object: &Manifest, contents: &mut Contents) -> Result<(), Rejected> {
        match object.kind {
            Service::KIND => self.convert(object, &mut contents.services),
            EndpointSlice::KIND => self.convert(object, &mut contents.slices),
            Node::KIND => self.convert(object, &mut contents.nodes),
            ServiceCidr::KIND => self.convert(object, &mut contents.service_cidrs),
            _ => {
                let wire: wire::Endpoints<'_> = object_from_json("Endpoints", &object.json)?;
                let mirrored = self.converter.endpoints(&wire)?;
                self.validate("Endpoints", Identity::from(&*wire.metadata), object.place)?;
                let slices = mirrored.slices.into_iter().map(Arc::new).collect();
                self.insert("Endpoints", mirrored.name, slices, object.place, &mut contents.endpoints);
                Ok(())
            }
        }
    }

    fn convert<T: Resource>(&mut self, object: &Manifest, to: &mut Objects<T>) -> Result<(), Rejected> {
        let (converted, wire) = decode::<T>(&object.json, self.converter)?;
        self.validate(T::KIND, Identity::from(T::metadata(&wire)), object.place)?;
        let (key, value) = match converted {
            Converted::Proxied(value) => (value.key().clone(), Some(Arc::new(value))),
            Converted::NotProxied(key) => (key, None),
        };
        self.insert(T::KIND, key, value, object.place, to);
        Ok(())
    }

    /// Rejects an object for entries that an API server rejects, and logs valid ones that are not used.
    fn validate(&mut self, kind: &'static str, name: Identity, place: Place) -> Result<(), Rejected> {
        let problems = self.converter.take_problems();
        let (invalid, valid): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| problem.is_invalid);
        if !invalid.is_empty() {
            let faults = invalid.into_iter().map(|problem| (problem.field, problem.reason)).collect();
            return Err(Rejected { kind, name, faults });
        }
        let (file, Place { document, line }) = (self.file.display(), place);
        for _ in &valid {
            self.metrics.add_error(Count::Problems, kind);
        }
        for Problem { object, field, reason, .. } in valid.iter().take(MAX_LOGGED) {
            let object = format!("{kind} {object}");
            warn!(%file, document, line, object, field, err = reason, "Ignored part of an object");
        }
        if let Some(more @ 1..) = valid.len().checked_sub(MAX_LOGGED) {
            warn!(%file, document, line, object = format!("{kind} {name}"), more, "Ignored more parts of an object");
        }
        Ok(())
    }

    fn insert<K: Ord + Display, V>(
        &self,
        kind: &str,
        key: K,
        value: V,
        place: Place,
        to: &mut BTreeMap<K, V>,
    ) {
        match to.entry(key) {
            Entry::Vacant(entry) => _ = entry.insert(value),
            Entry::Occupied(first) => {
                let (file, Place { document, line }) = (self.file.display(), place);
                let object = format!("{kind} {}", first.key());
                warn!(%file, document, line, object, "Object is defined twice in this file; the first definition is used");
            }
        }
    }

    /// Logs what is wrong with an object, and keeps its earlier version.
    fn reject(&self, mut rejected: Rejected, place: Place, contents: &mut Contents) {
        if ![Node::KIND, ServiceCidr::KIND].contains(&rejected.kind) {
            rejected.name.namespace.get_or_insert_with(|| DEFAULT_NAMESPACE.into());
        }
        let is_kept = self.restore(&rejected, contents);
        let Rejected { kind, name, faults } = rejected;
        let effect = if is_kept {
            "Rejected object; its last good version remains in effect"
        } else {
            "Rejected object; no good version of it is known"
        };
        let (file, Place { document, line }) = (self.file.display(), place);
        let object = format!("{kind} {name}");
        for (field, err) in faults.iter().take(MAX_LOGGED) {
            error!(%file, document, line, object, field, err, "{effect}");
        }
        if let Some(more @ 1..) = faults.len().checked_sub(MAX_LOGGED) {
            error!(%file, document, line, object, more, "Rejected object has more faults");
        }
        // Other Nodes are not used.
        let is_of_other_node =
            kind == Node::KIND && name.name.as_deref().is_some_and(|name| name != &**self.node_name);
        if let Some((field, reason)) = faults.first().filter(|_| !is_kept && !is_of_other_node) {
            contents.unread.push(format!("{file}: {place}: {object}: {field}: {reason}"));
        }
    }

    /// Keeps the earlier version of an object that is rejected now. Returns whether there is one.
    fn restore(&self, Rejected { kind, name, .. }: &Rejected, contents: &mut Contents) -> bool {
        match *kind {
            Service::KIND => keep(name, &self.before.services, &mut contents.services),
            EndpointSlice::KIND => keep(name, &self.before.slices, &mut contents.slices),
            Node::KIND => keep(name, &self.before.nodes, &mut contents.nodes),
            ServiceCidr::KIND => keep(name, &self.before.service_cidrs, &mut contents.service_cidrs),
            _ => keep(name, &self.before.endpoints, &mut contents.endpoints),
        }
    }
}

fn keep<K: Key + Ord + Clone, V: Clone>(
    name: &Identity,
    before: &BTreeMap<K, V>,
    now: &mut BTreeMap<K, V>,
) -> bool {
    let key = K::of(name.namespace.as_deref(), name.name.as_deref());
    let before = key.and_then(|key| before.get_key_value(&key));
    if let Some((key, object)) = before {
        now.entry(key.clone()).or_insert_with(|| object.clone());
    }
    before.is_some()
}

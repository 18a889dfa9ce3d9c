//! The objects of one file, as the core knows them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use portolan_core::event::{EndpointSlice, Node, Object, Service, ServiceCidr};
use portolan_core::name::{Name, ObjectName};
use tracing::{error, warn};

use super::document::{Kind, Manifest, Parsed, Place};
use crate::convert::{Converted, Converter, DEFAULT_NAMESPACE, Problem};
use crate::decode::{Identity, Malformed, object_from_json};
use crate::metrics::{Count, SourceMetrics};
use crate::resource::Resource;

/// Lines of one kind that are logged about one object or file; of more only their number is.
const MAX_LINES: usize = 5;

/// Objects of one kind by key; nothing for one that exists but is not proxied.
pub(super) type Shelf<T> = BTreeMap<<T as Object>::Key, Option<Arc<T>>>;

/// What one file defines.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) services: Shelf<Service>,
    pub(super) slices: Shelf<EndpointSlice>,
    /// Endpoints objects by Service, as the slices they stand for.
    pub(super) endpoints: BTreeMap<ObjectName, Vec<Arc<EndpointSlice>>>,
    pub(super) nodes: Shelf<Node>,
    pub(super) service_cidrs: Shelf<ServiceCidr>,
    /// What else it may define: rejected objects of which no good version is known, each with the reason.
    pub(super) unread: Vec<String>,
}

/// Turns the objects of one file into [`Contents`].
pub(super) struct Reading<'a> {
    pub(super) file: &'a Path,
    pub(super) node_name: &'a Name,
    pub(super) converter: &'a mut Converter,
    pub(super) metrics: &'a SourceMetrics,
    /// What the file defined before; an object that is rejected now stays as it was.
    pub(super) before: &'a Contents,
}

/// An object that an API server would not take.
struct Rejected {
    kind: &'static str,
    name: Identity,
    /// What is wrong with it: fields with reasons.
    faults: Vec<(String, String)>,
}

impl From<Malformed> for Rejected {
    fn from(malformed: Malformed) -> Self {
        let Malformed { kind, name, field, reason } = malformed;
        Self { kind, name, faults: vec![(field, reason)] }
    }
}

impl Reading<'_> {
    /// Converts everything, logging what had to be left out.
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
        for (kind, (Place { document, line }, count)) in parsed.others.iter().take(MAX_LINES) {
            let file = self.file.display();
            warn!(%file, document, line, kind, count, "Ignored objects of a kind that is not read from manifests");
        }
        if let Some(more @ 1..) = parsed.others.len().checked_sub(MAX_LINES) {
            warn!(file = %self.file.display(), kinds = more, "Ignored objects of more kinds");
        }
        contents
    }

    fn take(&mut self, object: &Manifest, contents: &mut Contents) -> Result<(), Rejected> {
        match object.kind {
            Kind::Service => self.shelve(object, &mut contents.services),
            Kind::EndpointSlice => self.shelve(object, &mut contents.slices),
            Kind::Node => self.shelve(object, &mut contents.nodes),
            Kind::ServiceCidr => self.shelve(object, &mut contents.service_cidrs),
            Kind::Endpoints => {
                let wire = object_from_json("Endpoints", &object.json)?;
                let mirrored = self.converter.endpoints(&wire)?;
                self.judge("Endpoints", Identity::from(&wire.metadata), object.place)?;
                let slices = mirrored.slices.into_iter().map(Arc::new).collect();
                self.put("Endpoints", mirrored.name, slices, object.place, &mut contents.endpoints);
                Ok(())
            }
        }
    }

    fn shelve<T: Resource>(&mut self, object: &Manifest, onto: &mut Shelf<T>) -> Result<(), Rejected> {
        let wire = object_from_json(T::KIND, &object.json)?;
        let converted = T::convert(self.converter, &wire)?;
        self.judge(T::KIND, Identity::from(T::meta(&wire)), object.place)?;
        let (key, value) = match converted {
            Converted::Proxied(value) => (value.key().clone(), Some(Arc::new(value))),
            Converted::NotProxied(key) => (key, None),
        };
        self.put(T::KIND, key, value, object.place, onto);
        Ok(())
    }

    /// Rejects an object for entries that an API server does not take, and logs those that mean nothing here.
    fn judge(&mut self, kind: &'static str, name: Identity, place: Place) -> Result<(), Rejected> {
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
        for Problem { object, field, reason, .. } in valid.iter().take(MAX_LINES) {
            let object = format!("{kind} {object}");
            warn!(%file, document, line, object, field, err = reason, "Ignored part of an object");
        }
        if let Some(more @ 1..) = valid.len().checked_sub(MAX_LINES) {
            warn!(%file, document, line, object = format!("{kind} {name}"), more, "Ignored more parts of an object");
        }
        Ok(())
    }

    fn put<K: Ord + Display, V>(
        &self,
        kind: &str,
        key: K,
        value: V,
        place: Place,
        onto: &mut BTreeMap<K, V>,
    ) {
        match onto.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(first) => {
                let (file, Place { document, line }) = (self.file.display(), place);
                let object = format!("{kind} {}", first.key());
                warn!(%file, document, line, object, "Object is defined twice in this file; the first definition is used");
            }
        }
    }

    /// Logs what is wrong with an object, and takes over its earlier version.
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
        for (field, err) in faults.iter().take(MAX_LINES) {
            error!(%file, document, line, object, field, err, "{effect}");
        }
        if let Some(more @ 1..) = faults.len().checked_sub(MAX_LINES) {
            error!(%file, document, line, object, more, "Rejected object has more faults");
        }
        // What other nodes look like means nothing here.
        let is_of_other_node =
            kind == Node::KIND && name.name.as_deref().is_some_and(|name| name != &**self.node_name);
        if let Some((field, reason)) = faults.first().filter(|_| !is_kept && !is_of_other_node) {
            contents.unread.push(format!("{file}: {place}: {object}: {field}: {reason}"));
        }
    }

    /// Takes over the earlier version of an object that is rejected now; whether there is one.
    fn restore(&self, rejected: &Rejected, contents: &mut Contents) -> bool {
        let Some(name) = rejected.name.name.as_deref() else { return false };
        let namespace = rejected.name.namespace.as_deref();
        match rejected.kind {
            Service::KIND => keep(namespace, name, &self.before.services, &mut contents.services),
            EndpointSlice::KIND => keep(namespace, name, &self.before.slices, &mut contents.slices),
            Node::KIND => keep(namespace, name, &self.before.nodes, &mut contents.nodes),
            ServiceCidr::KIND => {
                keep(namespace, name, &self.before.service_cidrs, &mut contents.service_cidrs)
            }
            _ => {
                let key = Service::key_of(namespace, name);
                let before = key.and_then(|key| self.before.endpoints.get_key_value(&key));
                if let Some((key, slices)) = before {
                    contents.endpoints.entry(key.clone()).or_insert_with(|| slices.clone());
                }
                before.is_some()
            }
        }
    }
}

fn keep<T: Resource>(namespace: Option<&str>, name: &str, before: &Shelf<T>, now: &mut Shelf<T>) -> bool {
    let key = T::key_of(namespace, name);
    let before = key.and_then(|key| before.get_key_value(&key));
    if let Some((key, object)) = before {
        now.entry(key.clone()).or_insert_with(|| object.clone());
    }
    before.is_some()
}

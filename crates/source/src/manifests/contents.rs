//! The objects of one file, as the core knows them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use portolan_core::event::{EndpointSlice, Node, Object, Service, ServiceCidr};
use portolan_core::name::ObjectName;
use tracing::{error, warn};

use super::document::{Kind, Manifest};
use crate::convert::{Converted, Converter};
use crate::decode::{Malformed, object_from_json};
use crate::metrics::{Count, SourceMetrics};
use crate::resource::Resource;

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
}

/// Turns the objects of one file into [`Contents`].
pub(super) struct Reading<'a> {
    pub(super) file: &'a Path,
    pub(super) converter: &'a mut Converter,
    pub(super) metrics: &'a SourceMetrics,
    /// What the file defined before; an object that is malformed now stays as it was.
    pub(super) before: &'a Contents,
}

impl Reading<'_> {
    /// Converts everything, logging what had to be left out.
    pub(super) fn read(mut self, objects: Vec<Manifest>) -> Contents {
        let mut contents = Contents::default();
        for object in objects {
            if let Err(malformed) = self.take(&object, &mut contents) {
                self.metrics.add_error(Count::Malformed, malformed.kind);
                error!(file = %self.file.display(), "{malformed}; its last good version stays in force");
                self.restore(&malformed, &mut contents);
            }
        }
        let problems = self.converter.take_problems();
        for problem in problems {
            self.metrics.add_error(Count::Problems, problem.kind);
            warn!(file = %self.file.display(), "{problem}");
        }
        contents
    }

    fn take(&mut self, object: &Manifest, contents: &mut Contents) -> Result<(), Malformed> {
        match object.kind {
            Kind::Service => self.shelve(&object.json, &mut contents.services),
            Kind::EndpointSlice => self.shelve(&object.json, &mut contents.slices),
            Kind::Node => self.shelve(&object.json, &mut contents.nodes),
            Kind::ServiceCidr => self.shelve(&object.json, &mut contents.service_cidrs),
            Kind::Endpoints => {
                let mirrored = self.converter.endpoints(&object_from_json("Endpoints", &object.json)?)?;
                let slices = mirrored.slices.into_iter().map(Arc::new).collect();
                self.put("Endpoints", mirrored.name, slices, &mut contents.endpoints);
                Ok(())
            }
        }
    }

    fn shelve<T: Resource>(&mut self, json: &[u8], onto: &mut Shelf<T>) -> Result<(), Malformed> {
        let wire = object_from_json(T::KIND, json)?;
        let (key, object) = match T::convert(self.converter, &wire)? {
            Converted::Proxied(object) => (object.key().clone(), Some(Arc::new(object))),
            Converted::NotProxied(key) => (key, None),
        };
        self.put(T::KIND, key, object, onto);
        Ok(())
    }

    fn put<K: Ord + Display, V>(&self, kind: &str, key: K, object: V, onto: &mut BTreeMap<K, V>) {
        match onto.entry(key) {
            Entry::Vacant(place) => {
                place.insert(object);
            }
            Entry::Occupied(first) => {
                let (file, key) = (self.file.display(), first.key());
                warn!(%file, "{kind} {key} is defined twice in this file; the first definition counts");
            }
        }
    }

    /// Takes over the earlier version of an object that cannot be read any more.
    fn restore(&self, malformed: &Malformed, contents: &mut Contents) {
        let Some(name) = malformed.name.name.as_deref() else { return };
        let namespace = Some(malformed.name.namespace.as_deref().unwrap_or("default"));
        match malformed.kind {
            Service::KIND => keep(namespace, name, &self.before.services, &mut contents.services),
            EndpointSlice::KIND => keep(namespace, name, &self.before.slices, &mut contents.slices),
            Node::KIND => keep(None, name, &self.before.nodes, &mut contents.nodes),
            ServiceCidr::KIND => keep(None, name, &self.before.service_cidrs, &mut contents.service_cidrs),
            _ => {
                let key = Service::key_of(namespace, name);
                let before = key.and_then(|key| self.before.endpoints.get_key_value(&key));
                if let Some((key, slices)) = before {
                    contents.endpoints.entry(key.clone()).or_insert_with(|| slices.clone());
                }
            }
        }
    }
}

fn keep<T: Resource>(namespace: Option<&str>, name: &str, before: &Shelf<T>, now: &mut Shelf<T>) {
    let key = T::key_of(namespace, name);
    if let Some((key, object)) = key.and_then(|key| before.get_key_value(&key)) {
        now.entry(key.clone()).or_insert_with(|| object.clone());
    }
}

//! The objects of all files together, and how they differ from earlier ones.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use portolan_core::Event;
use portolan_core::event::{Change, EndpointSlice, Node, Object, Service, ServiceCidr};
use portolan_core::name::{Name, ObjectName};
use tracing::warn;

use super::contents::Contents;
use crate::convert::Resource;

/// An object without effect, its file, and the file whose definition is used.
type Shadowed = [String; 3];

/// Objects of one kind in effect.
type Effective<T> = BTreeMap<<T as Object>::Key, Arc<T>>;

/// The folder as a whole.
#[derive(Debug, Default)]
pub(super) struct Merged {
    services: Effective<Service>,
    slices: Effective<EndpointSlice>,
    node: Effective<Node>,
    service_cidrs: Effective<ServiceCidr>,
    /// Definitions without effect, because an earlier file has the same object. Each is logged once.
    shadowed: BTreeSet<Shadowed>,
}

impl Merged {
    /// Merges files. Of equal objects the one in the first file is used.
    pub(super) fn of<'a>(files: impl Iterator<Item = (&'a Path, &'a Contents)>, node_name: &Name) -> Self {
        let files: Vec<_> = files.collect();
        let mut shadowed = BTreeSet::new();
        let services = merge(Service::KIND, &files, |contents| &contents.services, &mut shadowed);
        let slices = merge(EndpointSlice::KIND, &files, |contents| &contents.slices, &mut shadowed);
        let endpoints = merge("Endpoints", &files, |contents| &contents.endpoints, &mut shadowed);
        let nodes = merge(Node::KIND, &files, |contents| &contents.nodes, &mut shadowed);
        let cidrs = merge(ServiceCidr::KIND, &files, |contents| &contents.service_cidrs, &mut shadowed);
        let mut slices = proxied(slices);
        let served: HashSet<ObjectName> = slices.values().map(|slice| slice.service_name()).collect();
        // `kubectl get` prints both for one Service; the slices hold more.
        let mirrored = endpoints.into_iter().filter(|(service, _)| !served.contains(service));
        for slice in mirrored.flat_map(|(_, slices)| slices) {
            slices.insert(slice.name.clone(), slice);
        }
        let mut node = proxied(nodes);
        node.retain(|name, _| name == node_name);
        Self { services: proxied(services), slices, node, service_cidrs: proxied(cidrs), shadowed }
    }

    /// Everything, as the first events of a stream.
    pub(super) fn all(&self) -> Vec<Event> {
        vec![
            replaced(&self.node),
            replaced(&self.service_cidrs),
            replaced(&self.slices),
            replaced(&self.services),
        ]
    }

    /// The changes since `before`.
    pub(super) fn since(&self, before: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        events.extend(applied(&before.node, &self.node).chain(deleted(&before.node, &self.node)));
        events.extend(applied(&before.service_cidrs, &self.service_cidrs));
        events.extend(deleted(&before.service_cidrs, &self.service_cidrs));
        // A slice that replaces another is added before that one is deleted, so that its Service always has endpoints.
        events.extend(applied(&before.slices, &self.slices).chain(deleted(&before.slices, &self.slices)));
        // A Service that takes over another's address is added after that one is deleted, so that they do not conflict.
        events.extend(
            deleted(&before.services, &self.services).chain(applied(&before.services, &self.services)),
        );
        events
    }

    /// Logs definitions without effect, unless `before` had them, too.
    pub(super) fn warn_of_shadowed(&self, before: &Self) {
        for definition in self.shadowed.difference(&before.shadowed) {
            let [object, file, used] = definition;
            warn!(object, file, used, "Ignored object that an earlier file defines, too");
        }
    }
}

/// Merges the objects of one kind of all files, in the order given. Notes those without effect.
fn merge<K: Ord + Clone + Display, V: Clone>(
    kind: &str,
    files: &[(&Path, &Contents)],
    objects: impl Fn(&Contents) -> &BTreeMap<K, V>,
    shadowed: &mut BTreeSet<Shadowed>,
) -> BTreeMap<K, V> {
    let mut merged: BTreeMap<K, (&Path, V)> = BTreeMap::new();
    for (file, contents) in files {
        for (key, object) in objects(contents) {
            if let Some((first, _)) = merged.get(key) {
                let [file, first] = [file, first].map(|path| path.display().to_string());
                shadowed.insert([format!("{kind} {key}"), file, first]);
            } else {
                merged.insert(key.clone(), (file, object.clone()));
            }
        }
    }
    merged.into_iter().map(|(key, (_, object))| (key, object)).collect()
}

/// Without objects that are not proxied.
fn proxied<K: Ord, V>(objects: BTreeMap<K, Option<V>>) -> BTreeMap<K, V> {
    objects.into_iter().filter_map(|(key, object)| Some((key, object?))).collect()
}

fn replaced<T: Resource>(objects: &Effective<T>) -> Event {
    (T::EVENT)(Change::Replaced(objects.values().map(|object| T::clone(object)).collect()))
}

fn applied<T: Resource>(before: &Effective<T>, now: &Effective<T>) -> impl Iterator<Item = Event> {
    let differs = |(key, object): &(&T::Key, &Arc<T>)| before.get(*key).is_none_or(|old| old != *object);
    now.iter().filter(differs).map(|(_, object)| (T::EVENT)(Change::Applied(T::clone(object))))
}

fn deleted<T: Resource>(before: &Effective<T>, now: &Effective<T>) -> impl Iterator<Item = Event> {
    before.keys().filter(|key| !now.contains_key(*key)).map(|key| (T::EVENT)(Change::Deleted(key.clone())))
}

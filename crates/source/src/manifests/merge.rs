//! What all files together say, and how that differs from what was said before.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use portolan_core::Event;
use portolan_core::event::{Change, EndpointSlice, Node, Object, Service, ServiceCidr};
use portolan_core::name::{Name, ObjectName};
use tracing::warn;

use super::contents::{Contents, Shelf};
use crate::resource::Resource;

/// Objects of one kind that are in force.
type InForce<T> = BTreeMap<<T as Object>::Key, Arc<T>>;

/// The folder as a whole.
#[derive(Debug, Default)]
pub(super) struct Merged {
    services: InForce<Service>,
    slices: InForce<EndpointSlice>,
    node: InForce<Node>,
    service_cidrs: InForce<ServiceCidr>,
    /// Definitions that an earlier file made void, so that each is told once.
    shadowed: BTreeSet<String>,
}

impl Merged {
    /// Lays the files over each other in the order given, the first one on top.
    pub(super) fn of<'a>(files: impl Iterator<Item = (&'a Path, &'a Contents)>, node_name: &Name) -> Self {
        let mut pile = Pile::default();
        for (file, contents) in files {
            pile.add(file, contents);
        }
        let real = pile.slices.values().filter_map(|(_, slice)| slice.as_ref());
        let served: HashSet<ObjectName> = real.map(|slice| slice.service_name()).collect();
        let mut slices = in_force(pile.slices);
        // `kubectl get` prints both for one Service; the slices say more.
        let mirrored = pile.endpoints.into_iter().filter(|(service, _)| !served.contains(service));
        for slice in mirrored.flat_map(|(_, (_, slices))| slices) {
            slices.insert(slice.name.clone(), slice);
        }
        let mut node = in_force(pile.nodes);
        node.retain(|name, _| name == node_name);
        Self {
            services: in_force(pile.services),
            slices,
            node,
            service_cidrs: in_force(pile.service_cidrs),
            shadowed: pile.shadowed,
        }
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

    /// What became different since `before`.
    pub(super) fn since(&self, before: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        events.extend(applied(&before.node, &self.node).chain(deleted(&before.node, &self.node)));
        events.extend(applied(&before.service_cidrs, &self.service_cidrs));
        events.extend(deleted(&before.service_cidrs, &self.service_cidrs));
        // A slice that replaces another comes before that one goes, so that its Service is never without.
        events.extend(applied(&before.slices, &self.slices).chain(deleted(&before.slices, &self.slices)));
        // A Service that takes over another's address comes after that one is gone, so that they never contend.
        events.extend(
            deleted(&before.services, &self.services).chain(applied(&before.services, &self.services)),
        );
        events
    }

    /// Warns of definitions that have no effect, unless `before` already did.
    pub(super) fn warn_of_shadowed(&self, before: &Self) {
        for definition in self.shadowed.difference(&before.shadowed) {
            warn!("{definition}");
        }
    }
}

/// Objects with the file that defines them.
type Layer<'a, K, V> = BTreeMap<K, (&'a Path, V)>;

#[derive(Default)]
struct Pile<'a> {
    services: Layer<'a, ObjectName, Option<Arc<Service>>>,
    slices: Layer<'a, ObjectName, Option<Arc<EndpointSlice>>>,
    endpoints: Layer<'a, ObjectName, Vec<Arc<EndpointSlice>>>,
    nodes: Layer<'a, Name, Option<Arc<Node>>>,
    service_cidrs: Layer<'a, Name, Option<Arc<ServiceCidr>>>,
    shadowed: BTreeSet<String>,
}

impl<'a> Pile<'a> {
    fn add(&mut self, file: &'a Path, contents: &Contents) {
        let shadowed = &mut self.shadowed;
        lay_shelf(&mut self.services, file, &contents.services, shadowed);
        lay_shelf(&mut self.slices, file, &contents.slices, shadowed);
        lay_shelf(&mut self.nodes, file, &contents.nodes, shadowed);
        lay_shelf(&mut self.service_cidrs, file, &contents.service_cidrs, shadowed);
        lay("Endpoints", &mut self.endpoints, file, &contents.endpoints, shadowed);
    }
}

fn lay_shelf<'a, T: Resource>(
    layer: &mut Layer<'a, T::Key, Option<Arc<T>>>,
    file: &'a Path,
    shelf: &Shelf<T>,
    shadowed: &mut BTreeSet<String>,
) {
    lay(T::KIND, layer, file, shelf, shadowed);
}

fn lay<'a, K: Ord + Clone + Display, V: Clone>(
    kind: &str,
    layer: &mut Layer<'a, K, V>,
    file: &'a Path,
    objects: &BTreeMap<K, V>,
    shadowed: &mut BTreeSet<String>,
) {
    for (key, object) in objects {
        if let Some((first, _)) = layer.get(key) {
            let (first, file) = (first.display(), file.display());
            shadowed.insert(format!("{kind} {key} in {file} has no effect, because {first} defines it too"));
        } else {
            layer.insert(key.clone(), (file, object.clone()));
        }
    }
}

fn in_force<K: Ord, V>(layer: Layer<'_, K, Option<V>>) -> BTreeMap<K, V> {
    layer.into_iter().filter_map(|(key, (_, object))| Some((key, object?))).collect()
}

fn replaced<T: Resource>(objects: &InForce<T>) -> Event {
    T::event(Change::Replaced(objects.values().map(|object| T::clone(object)).collect()))
}

fn applied<T: Resource>(before: &InForce<T>, now: &InForce<T>) -> impl Iterator<Item = Event> {
    let differs = |(key, object): &(&T::Key, &Arc<T>)| before.get(*key).is_none_or(|old| old != *object);
    now.iter().filter(differs).map(|(_, object)| T::event(Change::Applied(T::clone(object))))
}

fn deleted<T: Resource>(before: &InForce<T>, now: &InForce<T>) -> impl Iterator<Item = Event> {
    before.keys().filter(|key| !now.contains_key(*key)).map(|key| T::event(Change::Deleted(key.clone())))
}

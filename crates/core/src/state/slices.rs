//! The EndpointSlices there are, each held once: here by its name, and by the Service that it belongs to.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::event::EndpointSlice;
use crate::name::ObjectName;
use crate::room::Room;

/// All slices by name.
///
/// A set and not a map, so that no name is stored beside the slice that has it.
#[derive(Debug, Default)]
pub(super) struct Slices(HashSet<ByName>);

impl Slices {
    /// The slice of this name.
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Arc<EndpointSlice>> {
        self.0.get(name).map(|ByName(slice)| slice)
    }

    /// Takes a slice in, and gives back the one that had its name.
    pub(super) fn insert(&mut self, slice: Arc<EndpointSlice>) -> Option<Arc<EndpointSlice>> {
        self.0.replace(ByName(slice)).map(|ByName(old)| old)
    }

    /// Takes out the slice of this name.
    pub(super) fn remove(&mut self, name: &ObjectName) -> Option<Arc<EndpointSlice>> {
        self.0.take(name).map(|ByName(slice)| slice)
    }

    /// The names of all slices.
    pub(super) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.0.iter().map(|ByName(slice)| &slice.name)
    }

    /// Makes room for so many slices in all.
    pub(super) fn make_room(&mut self, in_all: usize) {
        self.0.make_room(in_all);
    }

    /// Whether there are none.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A slice that counts as equal to its name.
#[derive(Debug)]
struct ByName(Arc<EndpointSlice>);

impl Borrow<ObjectName> for ByName {
    fn borrow(&self) -> &ObjectName {
        &self.0.name
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

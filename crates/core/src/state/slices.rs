//! The EndpointSlices there are, each held once: here by its name, and by the Service that it belongs to,
//! which is decided anew when one of them comes, changes or goes.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::State;
use crate::event::EndpointSlice;
use crate::name::{Name, ObjectName};
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

impl State {
    /// Takes in a slice as it is now, or that it is gone.
    pub(super) fn set_slice(&mut self, name: &ObjectName, slice: Option<EndpointSlice>) {
        let old = match slice {
            Some(slice) => {
                if self.slices.get(name).is_some_and(|old| **old == slice) {
                    return;
                }
                let slice = Arc::new(slice);
                self.attach(&slice);
                self.slices.insert(slice)
            }
            None => self.slices.remove(name),
        };
        let Some(old) = old else { return };
        let owner = old.service_name();
        match self.slices.get(name) {
            None => {
                self.families[old.family].drop_triggers(&owner);
                self.detach(&owner, &name.name);
            }
            Some(new) if new.service != old.service => self.detach(&owner, &name.name),
            Some(_) => {}
        }
        self.dirty.reselect(owner);
    }

    /// Links a slice that is about to be stored with its Service.
    fn attach(&mut self, slice: &Arc<EndpointSlice>) {
        let owner = slice.service_name();
        let known = self.slices.get(&slice.name).and_then(|old| old.trigger_time);
        if let Some(time) = slice.trigger_time.filter(|time| Some(*time) != known) {
            self.families[slice.family].add_trigger(&owner, time);
        }
        let slices = &mut self.services.entry(owner.clone()).or_default().slices;
        match slices.binary_search_by(|other| other.name.name.cmp(&slice.name.name)) {
            Ok(at) => slices[at] = Arc::clone(slice),
            Err(at) => {
                slices.reserve_exact(1);
                slices.insert(at, Arc::clone(slice));
            }
        }
        self.dirty.reselect(owner);
    }

    fn detach(&mut self, owner: &ObjectName, slice: &Name) {
        let Some(entry) = self.services.get_mut(owner) else { return };
        if let Ok(at) = entry.slices.binary_search_by(|other| other.name.name.cmp(slice)) {
            entry.slices.remove(at);
        }
    }
}

//! Changes of EndpointSlices. Each is stored once and shared between its name and its Service.

use std::sync::Arc;

use super::State;
use crate::event::EndpointSlice;
use crate::name::{Name, ObjectName};

impl State {
    /// Sets a slice, or removes it.
    pub(super) fn set_slice(&mut self, name: &ObjectName, slice: Option<EndpointSlice>) {
        let old = match slice {
            Some(slice) => {
                if self.slices.get(name).is_some_and(|old| **old == slice) {
                    return;
                }
                let slice = Arc::new(slice);
                self.attach(&slice);
                self.slices.insert(name.clone(), slice)
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
        self.dirty.mark_endpoints(owner);
    }

    /// Adds a slice that is about to be stored to its Service.
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
        self.dirty.mark_endpoints(owner);
    }

    /// Removes a slice from its former Service.
    fn detach(&mut self, owner: &ObjectName, slice: &Name) {
        let Some(entry) = self.services.get_mut(owner) else { return };
        if let Ok(at) = entry.slices.binary_search_by(|other| other.name.name.cmp(slice)) {
            entry.slices.remove(at);
        }
    }
}

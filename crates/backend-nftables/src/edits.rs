//! Elements to add and remove, each key once.
//!
//! In one change an address may move from one Service to another, or an endpoint may
//! stop and start being local. Only the net effect may reach the kernel, where adding an
//! existing element or deleting an absent one fails the transaction.

use std::collections::HashMap;

use portolan_nft::Bytes;

use crate::frontend::{SetElement, Value};
use crate::layout::ServiceSet;

/// The net change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// What the kernel holds.
    pub(crate) old: Option<Value>,
    /// What it is to hold.
    pub(crate) new: Option<Value>,
}

/// Changes to all sets of a family.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    sets: [HashMap<Bytes, Edit>; ServiceSet::ALL.len()],
}

impl Edits {
    /// The element is no longer wanted.
    pub(crate) fn remove(&mut self, (set, key, value): SetElement) {
        let edits = &mut self.sets[set as usize];
        edits.entry(key).or_insert_with(|| Edit { old: Some(value.clone()), new: Some(value) }).new = None;
        Self::settle(edits, &key);
    }

    /// The element is wanted from now on.
    pub(crate) fn add(&mut self, (set, key, value): SetElement) {
        let edits = &mut self.sets[set as usize];
        edits.entry(key).or_insert(Edit { old: None, new: None }).new = Some(value);
        Self::settle(edits, &key);
    }

    /// The kernel already holds this element.
    pub(crate) fn found(&mut self, (set, key, value): SetElement) {
        let edits = &mut self.sets[set as usize];
        edits.entry(key).or_insert(Edit { old: None, new: None }).old = Some(value);
        Self::settle(edits, &key);
    }

    fn settle(edits: &mut HashMap<Bytes, Edit>, key: &Bytes) {
        if edits.get(key).is_some_and(|edit| edit.old == edit.new) {
            edits.remove(key);
        }
    }

    /// Removes all changes and keeps the capacity.
    pub(crate) fn clear(&mut self) {
        self.sets.iter_mut().for_each(HashMap::clear);
    }

    /// Number of keys that change.
    pub(crate) fn len(&self) -> usize {
        self.sets.iter().map(HashMap::len).sum()
    }

    /// The changes of one set, by key.
    pub(crate) fn of(&self, set: ServiceSet) -> Vec<(&Bytes, &Edit)> {
        let mut edits: Vec<_> = self.sets[set as usize].iter().collect();
        edits.sort_unstable_by_key(|(key, _)| *key);
        edits
    }

    /// The keys of one set that change, in no order.
    pub(crate) fn keys(&self, set: ServiceSet) -> impl Iterator<Item = &Bytes> {
        self.sets[set as usize].keys()
    }
}

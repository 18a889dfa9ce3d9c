//! Elements to add and remove, each key once, whoever asked for it.
//!
//! Within one batch an address may leave one Service and join another, or an
//! endpoint may stop and start being local. Only the net effect may reach the
//! kernel, where adding what exists or deleting what is absent fails the batch.

use std::collections::HashMap;

use portolan_nft::Bytes;

use crate::frontend::{Item, Value};
use crate::layout::Container;

/// The net change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// What the kernel holds.
    pub(crate) old: Option<Value>,
    /// What it shall hold.
    pub(crate) new: Option<Value>,
}

/// Changes to all containers of a family.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    containers: [HashMap<Bytes, Edit>; Container::ALL.len()],
}

impl Edits {
    /// The element is no longer wanted.
    pub(crate) fn remove(&mut self, (container, key, value): Item) {
        let edits = &mut self.containers[container as usize];
        edits.entry(key).or_insert_with(|| Edit { old: Some(value.clone()), new: Some(value) }).new = None;
        Self::settle(edits, &key);
    }

    /// The element is wanted from now on.
    pub(crate) fn add(&mut self, (container, key, value): Item) {
        let edits = &mut self.containers[container as usize];
        edits.entry(key).or_insert(Edit { old: None, new: None }).new = Some(value);
        Self::settle(edits, &key);
    }

    /// The kernel turns out to hold `value` under `key`, which was thought to be absent.
    pub(crate) fn found(&mut self, (container, key, value): Item) {
        let edits = &mut self.containers[container as usize];
        edits.entry(key).or_insert(Edit { old: None, new: None }).old = Some(value);
        Self::settle(edits, &key);
    }

    fn settle(edits: &mut HashMap<Bytes, Edit>, key: &Bytes) {
        if edits.get(key).is_some_and(|edit| edit.old == edit.new) {
            edits.remove(key);
        }
    }

    /// No changes, with the room for as many as there were.
    pub(crate) fn clear(&mut self) {
        self.containers.iter_mut().for_each(HashMap::clear);
    }

    /// Number of keys that change.
    pub(crate) fn len(&self) -> usize {
        self.containers.iter().map(HashMap::len).sum()
    }

    /// The changes of one container, by key.
    pub(crate) fn of(&self, container: Container) -> Vec<(&Bytes, &Edit)> {
        let mut edits: Vec<_> = self.containers[container as usize].iter().collect();
        edits.sort_unstable_by_key(|(key, _)| *key);
        edits
    }

    /// The keys of one container that change, in no order.
    pub(crate) fn keys(&self, container: Container) -> impl Iterator<Item = &Bytes> {
        self.containers[container as usize].keys()
    }
}

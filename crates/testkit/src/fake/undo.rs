//! Takes steps back when a later one of the same transaction is refused.
//!
//! Each change notes what was there before. Taking the notes back in reverse
//! order restores the state, at the cost of the transaction and not of the
//! tables.

use std::sync::Arc;

use super::{FakeChain, FakeSet, FakeTable, FakeTables};
use portolan_nft::{Element, TableId};

/// What one change replaced.
pub(super) enum Undo {
    /// The whole table, or none.
    Table(TableId, Option<Box<FakeTable>>),
    /// The whole chain, or none.
    Chain(TableId, Arc<str>, Option<FakeChain>),
    /// The whole set, or none.
    Set(TableId, Arc<str>, Option<Box<FakeSet>>),
    /// An element was added.
    Added(TableId, Arc<str>, Element),
    /// An element was removed.
    Removed(TableId, Arc<str>, Element),
}

impl FakeTables {
    pub(super) fn undo(&mut self, step: Undo) {
        match step {
            Undo::Table(id, before) => match before {
                Some(table) => drop(self.tables.insert(id, *table)),
                None => drop(self.tables.remove(&id)),
            },
            Undo::Chain(id, name, before) => self.within(&id, |table| match before {
                Some(chain) => drop(table.chains.insert(name, chain)),
                None => drop(table.chains.remove(&name)),
            }),
            Undo::Set(id, name, before) => self.within(&id, |table| match before {
                Some(set) => drop(table.sets.insert(name, *set)),
                None => drop(table.sets.remove(&name)),
            }),
            Undo::Added(id, name, element) => self.within(&id, |table| {
                table.sets.get_mut(&name).map(|set| set.remove(&element));
            }),
            Undo::Removed(id, name, element) => self.within(&id, |table| {
                if let Some(set) = table.sets.get_mut(&name) {
                    set.put(element);
                }
            }),
        }
    }

    fn within(&mut self, id: &TableId, act: impl FnOnce(&mut FakeTable)) {
        self.tables.get_mut(id).map(act);
    }
}

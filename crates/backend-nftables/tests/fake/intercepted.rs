//! Tables that call a test at every commit and reading.

use std::collections::VecDeque;
use std::time::Duration;

use portolan_nft::{Commit, DumpedSet, NftError, Table, TableDump, Transaction};

use super::*;

type OnCommit = Box<dyn FnMut(&mut FakeTables, &Transaction) + Send>;
type OnReading = Box<dyn FnMut(&mut DumpedSet) + Send>;
type OnReadingAll = Box<dyn FnMut(&mut TableDump) + Send>;

/// Tables in memory with hooks.
pub(crate) struct Intercepted {
    pub(crate) tables: FakeTables,
    /// Called before each commit.
    pub(crate) before_commit: OnCommit,
    /// Called after each successful commit.
    pub(crate) after_commit: OnCommit,
    /// How long the kernel took for the next commits that are taken; no time for those beyond.
    pub(crate) took: VecDeque<Duration>,
    /// Called with what is read of one set, before the reader gets it.
    pub(crate) reading: OnReading,
    /// The same with what is read of a whole table.
    pub(crate) reading_all: OnReadingAll,
    /// Whole tables cannot be read: they change under the reader.
    pub(crate) is_unsteady: bool,
}

impl Intercepted {
    /// Hooks that do nothing.
    pub(crate) fn new(tables: FakeTables) -> Self {
        Self {
            tables,
            before_commit: Box::new(|_, _| {}),
            after_commit: Box::new(|_, _| {}),
            took: VecDeque::new(),
            reading: Box::new(|_| {}),
            reading_all: Box::new(|_| {}),
            is_unsteady: false,
        }
    }
}

impl Tables for Intercepted {
    fn commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError> {
        (self.before_commit)(&mut self.tables, transaction);
        let mut commit = self.tables.commit(transaction)?;
        if let Some(took) = self.took.pop_front() {
            commit.kernel = took;
        }
        (self.after_commit)(&mut self.tables, transaction);
        Ok(commit)
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        if self.is_unsteady {
            return Err(NftError::Unsteady { table: table.to_string() });
        }
        let mut found = self.tables.dump(table)?;
        if let Some(found) = &mut found {
            (self.reading_all)(found);
        }
        Ok(found)
    }

    fn dump_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError> {
        let mut found = self.tables.dump_set(table, set)?;
        if let Some(found) = &mut found {
            (self.reading)(found);
        }
        Ok(found)
    }

    fn list(&mut self) -> Result<Vec<(TableId, Table)>, NftError> {
        self.tables.list()
    }

    fn features(&mut self) -> Result<Features, NftError> {
        self.tables.features()
    }
}

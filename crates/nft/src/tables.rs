//! The door to nf_tables, real or pretended.

use std::time::Duration;

use crate::{DumpedSet, NftError, Table, TableDump, TableId, Transaction, Watch};

/// Reads and changes tables: the kernel's, or a [`FakeTables`](crate::FakeTables)' own.
///
/// Calls may block for as long as the kernel works, which is up to seconds for
/// hundreds of thousands of elements; run them where blocking does no harm.
pub trait Tables: Send {
    /// Makes all of the transaction's changes, or none of them. An empty one sends nothing.
    ///
    /// # Errors
    /// Names the step that was turned down; the tables stay as they were.
    fn commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError>;

    /// Reads a whole table; nothing when it does not exist.
    ///
    /// # Errors
    /// Fails when the table cannot be read whole and in one state.
    fn dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError>;

    /// Reads one set or map with its elements; nothing when it, or its table, does not exist.
    ///
    /// Of a set that rules fill, one reading may miss elements that were there all the time, if
    /// others expire while the kernel writes it. Who wants to delete all of a kind sees to it that
    /// no more are added, and then reads and deletes until a reading shows none.
    ///
    /// # Errors
    /// As [`dump`](Self::dump).
    fn dump_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError>;

    /// How many rules a base chain has; nothing when it, or its table, does not exist.
    ///
    /// Of the kernel this is one short question, however large the table.
    ///
    /// # Errors
    /// Fails when the chain cannot be looked at.
    fn count_rules(&mut self, table: &TableId, base_chain: &str) -> Result<Option<usize>, NftError> {
        let found = self.dump(table)?;
        Ok(found.and_then(|found| Some(found.chain(base_chain)?.rules.len())))
    }

    /// Lists the tables of the families this crate knows, without their content.
    ///
    /// # Errors
    /// Fails when the list cannot be read.
    fn list(&mut self) -> Result<Vec<(TableId, Table)>, NftError>;

    /// What the kernel offers beyond the least we need, found by trying.
    ///
    /// # Errors
    /// Fails when trying fails for another reason than the feature's absence, such as privilege.
    fn features(&mut self) -> Result<Features, NftError>;

    /// Begins to listen to changes of tables, and says by which netlink port those of this value are known;
    /// nothing where there is nothing to listen to.
    ///
    /// # Errors
    /// Fails when the kernel does not tell.
    fn watch(&mut self) -> Result<Option<(Watch, u32)>, NftError> {
        Ok(None)
    }
}

/// What a commit took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commit {
    /// Netlink messages sent, without the two that bracket the batch.
    pub messages: usize,
    /// Bytes sent.
    pub bytes: usize,
    /// Time spent writing them.
    pub encode: Duration,
    /// Time from handing them to the kernel to its answer.
    pub kernel: Duration,
}

/// Optional abilities of a kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// Tables can be owned and still outlive their owner's socket
    /// ([`TableFlags::OWNED`](crate::TableFlags::OWNED); Linux 6.9).
    pub owner_persist: bool,
    /// Elements can be deleted whether they are there or not
    /// ([`Transaction::destroy_elements`]; Linux 6.3).
    pub destroy_elements: bool,
}

//! Reading and changing tables, the kernel's or a test's.

use std::time::Duration;

use crate::{DumpedSet, NftError, Table, TableDump, TableId, Transaction, Watch};

/// Reads and changes tables: the kernel's ([`NetlinkTables`](crate::NetlinkTables)), or those of a test.
///
/// Calls may block for as long as the kernel works, which is up to seconds for
/// hundreds of thousands of elements; run them where blocking does no harm.
pub trait Tables: Send {
    /// Commits a transaction. An empty one sends nothing.
    ///
    /// # Errors
    /// Names the rejected step; the tables do not change.
    fn commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError>;

    /// Reads a whole table; none when it does not exist.
    ///
    /// # Errors
    /// Fails when the table cannot be read whole and in one state.
    fn dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError>;

    /// Reads one set or map with its elements; none when it, or its table, does not exist.
    ///
    /// A reading of a set that rules fill may miss elements that existed throughout, if others expire
    /// while the kernel writes the dump. To delete all elements of a kind, ensure that no more are added,
    /// then read and delete until a reading shows none.
    ///
    /// # Errors
    /// As [`dump`](Self::dump).
    fn dump_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError>;

    /// The number of rules of a base chain; none when it, or its table, does not exist.
    ///
    /// For the kernel's tables this is one short request, however large the table.
    ///
    /// # Errors
    /// Fails when the chain cannot be read.
    fn count_rules(&mut self, table: &TableId, base_chain: &str) -> Result<Option<usize>, NftError> {
        let found = self.dump(table)?;
        Ok(found.and_then(|found| Some(found.chain(base_chain)?.rules.len())))
    }

    /// Lists the tables of the families this crate knows, without their content.
    ///
    /// # Errors
    /// Fails when the list cannot be read.
    fn list(&mut self) -> Result<Vec<(TableId, Table)>, NftError>;

    /// The optional features of the kernel, found by probing.
    ///
    /// # Errors
    /// Fails when a probe fails for another reason than the feature's absence, such as privilege.
    fn features(&mut self) -> Result<Features, NftError>;

    /// Subscribes to changes of tables, and returns the netlink port that marks this value's own changes; none
    /// where there are no notices.
    ///
    /// # Errors
    /// Fails when the kernel sends no notices.
    fn watch(&mut self) -> Result<Option<(Watch, u32)>, NftError> {
        Ok(None)
    }
}

/// The cost of a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commit {
    /// Netlink messages sent, without the two that bracket the batch.
    pub messages: usize,
    /// Bytes sent.
    pub bytes: usize,
    /// Time spent encoding them.
    pub encode: Duration,
    /// Time from handing them to the kernel to its answer.
    pub kernel: Duration,
}

/// Optional features of a kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Tables can be owned and outlive their owner's socket
    /// ([`TableFlags::OWNED`](crate::TableFlags::OWNED); Linux 6.9).
    pub owner_persist: bool,
    /// Elements can be deleted whether they exist or not
    /// ([`Transaction::destroy_elements`]; Linux 6.3).
    pub destroy_elements: bool,
}

//! A model of the kernel's nf_tables in memory, for tests without privilege.
//!
//! [`FakeTables`] rejects what the kernel would reject, with the same error
//! numbers: missing and clashing objects, deletion of used objects, jump loops,
//! statements in the wrong kind of chain. Like the kernel it applies a
//! transaction as a whole or not at all, and the cost depends on the
//! transaction, not on the tables. It reads elements from the bytes that would be
//! sent, with the parser that reads the kernel's dumps. Owners, timeouts and
//! rules that fill sets are not modelled: no time passes and no packet arrives.
//!
//! Its chains hold statements ([`FakeTables::table`]), which a packet tracer can
//! follow.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use portolan_nft::{
    Chain, Commit, DumpedSet, Features, Listing, NftError, Owner, Rule, Table, TableDump, TableId, Tables,
    Transaction,
};

mod apply;
mod dump;
mod rule;
mod set;
#[cfg(test)]
mod tests;
mod undo;
mod validate;

pub use set::FakeSet;

/// Tables in memory.
#[derive(Debug, Clone, Default)]
pub struct FakeTables {
    tables: BTreeMap<TableId, FakeTable>,
    /// The scripted results of the next commits; an error number fails one.
    failures: VecDeque<Option<i32>>,
    features: Features,
    commits: usize,
    steps: usize,
}

/// One table in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FakeTable {
    table: Table,
    chains: BTreeMap<Arc<str>, FakeChain>,
    sets: BTreeMap<Arc<str>, FakeSet>,
}

/// A chain with its rules as they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeChain {
    chain: Chain,
    rules: Vec<Rule>,
}

impl FakeTables {
    /// No tables, and every feature offered.
    pub fn new() -> Self {
        Self { features: Features { owner_persist: true, destroy_elements: true }, ..Self::default() }
    }

    /// The same, as a kernel that offers just these features.
    #[must_use]
    pub fn with_features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// Makes the next commit not yet failed fail with this error number.
    pub fn fail_next(&mut self, errno: i32) {
        self.failures.push_back(Some(errno));
    }

    /// Lets the next commit not yet scripted pass, so that a failure can be scripted for a later one.
    pub fn pass_next(&mut self) {
        self.failures.push_back(None);
    }

    /// How many transactions were committed; empty and rejected ones do not count.
    pub fn commit_count(&self) -> usize {
        self.commits
    }

    /// How many steps the committed transactions had; each element counts.
    pub fn message_count(&self) -> usize {
        self.steps
    }

    /// One table.
    pub fn table(&self, id: &TableId) -> Option<&FakeTable> {
        self.tables.get(id)
    }

    /// All tables by family and name.
    pub fn tables(&self) -> impl Iterator<Item = (&TableId, &FakeTable)> {
        self.tables.iter()
    }

    /// Everything in nft's syntax, sorted: sets, then chains, by name.
    pub fn to_nft(&self) -> String {
        let mut text = String::new();
        for (id, table) in &self.tables {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}", Shown { id, table });
        }
        text
    }
}

impl FakeTable {
    /// Its flags and comment.
    pub fn attributes(&self) -> &Table {
        &self.table
    }

    /// One chain.
    pub fn chain(&self, name: &str) -> Option<&FakeChain> {
        self.chains.get(name)
    }

    /// All chains by name.
    pub fn chains(&self) -> impl Iterator<Item = &FakeChain> {
        self.chains.values()
    }

    /// The base chains of one hook in the order they are called: by priority, then by name.
    pub fn hooked(&self, hook: portolan_nft::Hook) -> Vec<&FakeChain> {
        let priority = |chain: &FakeChain| chain.chain.base.filter(|b| b.hook == hook).map(|b| b.priority);
        let mut found: Vec<_> = self.chains.values().filter(|chain| priority(chain).is_some()).collect();
        found.sort_by_key(|chain| priority(chain));
        found
    }

    /// One set or map.
    pub fn set(&self, name: &str) -> Option<&FakeSet> {
        self.sets.get(name)
    }

    /// All sets and maps by name.
    pub fn sets(&self) -> impl Iterator<Item = &FakeSet> {
        self.sets.values()
    }
}

impl FakeChain {
    /// Name and hook.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Tables for FakeTables {
    fn commit(&mut self, transaction: &Transaction) -> Result<Commit, NftError> {
        if transaction.is_empty() {
            return Ok(Commit::default());
        }
        if let Some(errno) = self.failures.pop_front().flatten() {
            return Err(batch_error(transaction, errno));
        }
        // Encoded as for the kernel, which gives the size.
        let commit = match transaction.rehearse(self.features) {
            Ok(commit) => commit,
            // What the kernel would reject as well is rejected with its error number.
            Err(unwritable) => return Err(self.clone().apply(transaction).err().unwrap_or(unwritable)),
        };
        self.apply(transaction)?;
        self.commits += 1;
        self.steps += transaction.operation_count() + transaction.element_count();
        Ok(commit)
    }

    fn dump(&mut self, table: &TableId) -> Result<Option<TableDump>, NftError> {
        Ok(self.tables.get(table).map(|found| found.dump(table)))
    }

    fn dump_set(&mut self, table: &TableId, set: &str) -> Result<Option<DumpedSet>, NftError> {
        Ok(self.tables.get(table).and_then(|found| found.sets.get(set)).map(FakeSet::dump))
    }

    fn count_rules(&mut self, table: &TableId, base_chain: &str) -> Result<Option<usize>, NftError> {
        let found = self.tables.get(table).and_then(|found| found.chain(base_chain));
        Ok(found.map(|chain| chain.rules.len()))
    }

    fn list(&mut self) -> Result<Vec<(TableId, Table)>, NftError> {
        Ok(self.tables.iter().map(|(id, table)| (id.clone(), table.table.clone())).collect())
    }

    fn features(&mut self) -> Result<Features, NftError> {
        Ok(self.features)
    }
}

impl FakeTable {
    fn owner(&self) -> Owner {
        if self.table.flags.owner { Owner::Us } else { Owner::None }
    }
}

fn batch_error(transaction: &Transaction, errno: i32) -> NftError {
    NftError::Batch {
        table: transaction.table().to_string(),
        errno,
        message: None,
        source: std::io::Error::from_raw_os_error(errno),
    }
}

struct Shown<'a> {
    id: &'a TableId,
    table: &'a FakeTable,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listing = Listing { id: self.id, table: &self.table.table };
        listing.open(f)?;
        for set in self.table.sets() {
            listing.set(f, set.set(), set.elements().cloned())?;
        }
        for chain in self.table.chains() {
            let rules = chain.rules.iter().map(|rule| rule.display(self.id.family));
            Listing::chain(f, &chain.chain, rules)?;
        }
        f.write_str("}\n")
    }
}

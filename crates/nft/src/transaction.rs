//! Transactions: ordered changes to a table, all or none of them.

use std::sync::Arc;

use portolan_netlink::Batch;

use crate::encode::encode;
use crate::{Chain, Commit, Element, ElementList, Features, NftError, Rule, Set, Table, TableId};

/// One step of a transaction. All but the first two concern the transaction's own table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Creates a table; an existing one keeps its content, and an orphaned one is claimed.
    AddTable(TableId, Table),
    /// Deletes a table with all its content.
    DeleteTable(TableId),
    /// Creates a chain; an equal one is kept with its rules.
    AddChain(Chain),
    /// Deletes a chain with its rules. Nothing may lead to it any more.
    DeleteChain(Arc<str>),
    /// Deletes a chain's rules.
    FlushChain(Arc<str>),
    /// Appends a rule to a chain. The sets and chains it names must exist.
    AddRule(Arc<str>, Rule),
    /// Deletes one rule of a chain, by its handle.
    DeleteRule(Arc<str>, u64),
    /// Creates a set or map; an equal one is kept with its elements.
    AddSet(Arc<Set>),
    /// Deletes a set with its elements. No rule may use it any more.
    DeleteSet(Arc<str>),
    /// Deletes all elements of a set.
    FlushSet(Arc<str>),
    /// Adds elements; equal ones may exist, ones with other data may not.
    AddElements(Arc<Set>, ElementList),
    /// Deletes elements, which must exist. Only keys count.
    DeleteElements(Arc<Set>, ElementList),
    /// Deletes those of these elements that exist. Only keys count. For kernels before Linux 6.3 it
    /// is [`DeleteElements`](Self::DeleteElements), see [`Features::destroy_elements`].
    ///
    /// Not for sets of ranges: for a range that does not exist, the kernel would delete the end that another
    /// range has in common with it.
    ///
    /// [`Features::destroy_elements`]: crate::Features::destroy_elements
    DestroyElements(Arc<Set>, ElementList),
}

impl Operation {
    /// The set and the elements that are added or deleted, if any.
    pub fn elements(&self) -> Option<(&Arc<Set>, &ElementList)> {
        match self {
            Self::AddElements(set, list)
            | Self::DeleteElements(set, list)
            | Self::DestroyElements(set, list) => Some((set, list)),
            _ => None,
        }
    }

    /// The action, for errors: `add`, `delete` or `flush`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::AddTable(..)
            | Self::AddChain(_)
            | Self::AddRule(..)
            | Self::AddSet(_)
            | Self::AddElements(..) => "add",
            Self::DeleteTable(_)
            | Self::DeleteChain(_)
            | Self::DeleteRule(..)
            | Self::DeleteSet(_)
            | Self::DeleteElements(..)
            | Self::DestroyElements(..) => "delete",
            Self::FlushChain(_) | Self::FlushSet(_) => "flush",
        }
    }

    /// The object, for errors: `chain ip portolan services`. `table` is the transaction's table.
    pub fn object(&self, table: &TableId) -> String {
        match self {
            Self::AddTable(id, _) | Self::DeleteTable(id) => format!("table {id}"),
            Self::AddChain(chain) => format!("chain {table} {}", chain.name),
            Self::DeleteChain(chain) | Self::FlushChain(chain) => format!("chain {table} {chain}"),
            Self::AddRule(chain, rule) => {
                format!("rule \"{}\" of chain {table} {chain}", rule.display(table.family))
            }
            Self::DeleteRule(chain, handle) => format!("rule {handle} of chain {table} {chain}"),
            Self::AddSet(set) => format!("{} {table} {}", set.noun(), set.name),
            Self::DeleteSet(set) | Self::FlushSet(set) => format!("set {table} {set}"),
            Self::AddElements(set, list)
            | Self::DeleteElements(set, list)
            | Self::DestroyElements(set, list) => match list.iter().next() {
                Some(only) if list.len() == 1 => only.describe(set, table),
                _ => format!("one of {} elements of {} {table} {}", list.len(), set.noun(), set.name),
            },
        }
    }
}

/// Ordered changes to one table that the kernel makes atomically.
///
/// Steps see what earlier ones did: a chain can be added and jumped to in one
/// transaction, a set's last user deleted and then the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    table: TableId,
    operations: Vec<Operation>,
    elements: usize,
    /// The first element that is not one of its set, and why.
    invalid: Option<(String, &'static str)>,
}

impl Transaction {
    /// A transaction without steps for `table`.
    pub fn new(table: TableId) -> Self {
        Self { table, operations: Vec::new(), elements: 0, invalid: None }
    }

    /// The table it changes.
    pub fn table(&self) -> &TableId {
        &self.table
    }

    /// The steps in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether there are no steps.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// How many steps there are; a step that adds or deletes elements counts once.
    pub fn operation_count(&self) -> usize {
        self.operations.len()
    }

    /// How many elements are added or deleted.
    pub fn element_count(&self) -> usize {
        self.elements
    }

    /// The first element that is not one of its set, and why: the transaction cannot be sent.
    pub(crate) fn invalid(&self) -> Option<&(String, &'static str)> {
        self.invalid.as_ref()
    }

    /// What a commit to a kernel with these features would send, without sending it.
    ///
    /// # Errors
    /// As a commit, for what cannot be written.
    pub fn rehearse(&self, features: Features) -> Result<Commit, NftError> {
        let encoded = encode(self, features, Batch::new(1))?;
        Ok(Commit { messages: encoded.messages(), bytes: encoded.batch.size(), ..Commit::default() })
    }

    /// Creates the table, or adopts it.
    pub fn add_table(&mut self, table: Table) -> &mut Self {
        self.push(Operation::AddTable(self.table.clone(), table))
    }

    /// Deletes the table with all its content; it must exist.
    pub fn delete_table(&mut self) -> &mut Self {
        self.push(Operation::DeleteTable(self.table.clone()))
    }

    /// Deletes any table, also one of another process, whether it exists or not.
    ///
    /// Adds the table first, so that the deletion finds one; kernels before 6.3 have no other way.
    pub fn ensure_table_absent(&mut self, table: TableId) -> &mut Self {
        self.push(Operation::AddTable(table.clone(), Table::default()));
        self.push(Operation::DeleteTable(table))
    }

    /// Creates a chain.
    pub fn add_chain(&mut self, chain: Chain) -> &mut Self {
        self.push(Operation::AddChain(chain))
    }

    /// Deletes a chain with its rules.
    pub fn delete_chain(&mut self, chain: impl Into<Arc<str>>) -> &mut Self {
        self.push(Operation::DeleteChain(chain.into()))
    }

    /// Deletes a chain's rules.
    pub fn flush_chain(&mut self, chain: impl Into<Arc<str>>) -> &mut Self {
        self.push(Operation::FlushChain(chain.into()))
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: impl Into<Arc<str>>, rule: Rule) -> &mut Self {
        self.push(Operation::AddRule(chain.into(), rule))
    }

    /// Appends rules to a chain.
    pub fn add_rules(&mut self, chain: &Arc<str>, rules: impl IntoIterator<Item = Rule>) -> &mut Self {
        for rule in rules {
            self.add_rule(Arc::clone(chain), rule);
        }
        self
    }

    /// Deletes a rule by its handle.
    pub fn delete_rule(&mut self, chain: impl Into<Arc<str>>, handle: u64) -> &mut Self {
        self.push(Operation::DeleteRule(chain.into(), handle))
    }

    /// Creates a set or map.
    pub fn add_set(&mut self, set: impl Into<Arc<Set>>) -> &mut Self {
        self.push(Operation::AddSet(set.into()))
    }

    /// Deletes a set or map with its elements.
    pub fn delete_set(&mut self, set: impl Into<Arc<str>>) -> &mut Self {
        self.push(Operation::DeleteSet(set.into()))
    }

    /// Deletes all elements of a set or map.
    pub fn flush_set(&mut self, set: impl Into<Arc<str>>) -> &mut Self {
        self.push(Operation::FlushSet(set.into()))
    }

    /// Adds elements to a set or map. No elements, no step.
    ///
    /// The set is given whole, not by name: its shape decides how elements are
    /// written, and errors name an element by the set's `typeof`.
    pub fn add_elements(&mut self, set: &Arc<Set>, elements: impl IntoIterator<Item = Element>) -> &mut Self {
        self.push_elements(set, elements, ElementList::of(set), Operation::AddElements)
    }

    /// Deletes elements from a set or map. No elements, no step.
    pub fn delete_elements(
        &mut self,
        set: &Arc<Set>,
        elements: impl IntoIterator<Item = Element>,
    ) -> &mut Self {
        self.push_elements(set, elements, ElementList::keys_of(set), Operation::DeleteElements)
    }

    /// Deletes elements that may not exist any more: those of sets with a timeout can expire at any
    /// moment after the set was read.
    ///
    /// Where the kernel lacks [`Features::destroy_elements`](crate::Features::destroy_elements) an
    /// element that does not exist fails the transaction with an error that
    /// [`is_not_found`](crate::NftError::is_not_found); read the set and try again.
    pub fn destroy_elements(
        &mut self,
        set: &Arc<Set>,
        elements: impl IntoIterator<Item = Element>,
    ) -> &mut Self {
        self.push_elements(set, elements, ElementList::keys_of(set), Operation::DestroyElements)
    }

    /// Moves the steps of `other` to the end, which must be for the same table.
    pub fn append(&mut self, other: &mut Self) {
        self.operations.append(&mut other.operations);
        self.elements += std::mem::take(&mut other.elements);
        self.invalid = self.invalid.take().or_else(|| other.invalid.take());
    }

    /// Appends a step of another transaction.
    pub fn push(&mut self, operation: Operation) -> &mut Self {
        if let Some((_, list)) = operation.elements() {
            self.elements += list.len();
        }
        self.operations.push(operation);
        self
    }

    fn push_elements(
        &mut self,
        set: &Arc<Set>,
        elements: impl IntoIterator<Item = Element>,
        mut list: ElementList,
        make: fn(Arc<Set>, ElementList) -> Operation,
    ) -> &mut Self {
        for element in elements {
            if self.invalid.is_none()
                && let Err(reason) = set.check(&element, self.table.family)
            {
                self.invalid = Some((element.describe(set, &self.table), reason));
            }
            list.push(&element);
        }
        if list.is_empty() { self } else { self.push(make(Arc::clone(set), list)) }
    }
}

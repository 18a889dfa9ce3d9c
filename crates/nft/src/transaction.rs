//! Transactions: what shall change in a table, in order, all of it or nothing.

use std::sync::Arc;

use crate::{Chain, Element, ElementList, Rule, Set, Table, TableId};

/// One step of a transaction. All but the first two concern the transaction's own table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Creates a table; one that exists keeps its content, and is adopted if it was left behind.
    AddTable(TableId, Table),
    /// Deletes a table with all its content.
    DeleteTable(TableId),
    /// Creates a chain; one that exists the same way is kept with its rules.
    AddChain(Chain),
    /// Deletes a chain with its rules. Nothing may lead to it any more.
    DeleteChain(Arc<str>),
    /// Deletes a chain's rules.
    FlushChain(Arc<str>),
    /// Appends a rule to a chain. The sets and chains it names must exist.
    AddRule(Arc<str>, Rule),
    /// Deletes one rule of a chain, by the kernel's number for it.
    DeleteRule(Arc<str>, u64),
    /// Creates a set or map; one that exists the same way is kept with its elements.
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
    /// Not for sets of ranges: of a range that is not there as given, the kernel would take the end
    /// that another has in common with it.
    ///
    /// [`Features::destroy_elements`]: crate::Features::destroy_elements
    DestroyElements(Arc<Set>, ElementList),
}

impl Operation {
    /// The set and the elements that are added or deleted, if that is what the step does.
    pub fn elements(&self) -> Option<(&Arc<Set>, &ElementList)> {
        match self {
            Self::AddElements(set, list)
            | Self::DeleteElements(set, list)
            | Self::DestroyElements(set, list) => Some((set, list)),
            _ => None,
        }
    }
}

/// Ordered changes to one table that the kernel makes all at once.
///
/// Steps see what earlier ones did: a chain can be added and jumped to in one
/// transaction, a set's last user deleted and then the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    table: TableId,
    operations: Vec<Operation>,
    elements: usize,
}

impl Transaction {
    /// No changes yet to `table`.
    pub fn new(table: TableId) -> Self {
        Self { table, operations: Vec::new(), elements: 0 }
    }

    /// The table it changes.
    pub fn table(&self) -> &TableId {
        &self.table
    }

    /// The steps in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether nothing would change.
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

    /// Creates the table, or adopts it.
    pub fn add_table(&mut self, table: Table) -> &mut Self {
        self.push(Operation::AddTable(self.table.clone(), table))
    }

    /// Deletes the table with all its content; it must exist.
    pub fn delete_table(&mut self) -> &mut Self {
        self.push(Operation::DeleteTable(self.table.clone()))
    }

    /// Deletes any table, another's included, whether it exists or not.
    ///
    /// Adds the table first, so that deleting cannot miss; kernels before 6.3
    /// have no other way to say it.
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

    /// Deletes a rule, by the kernel's number for it.
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
    /// written, and errors name an element in the words of the set's `typeof`.
    pub fn add_elements(&mut self, set: &Arc<Set>, elements: impl IntoIterator<Item = Element>) -> &mut Self {
        self.push_elements(set, elements, Operation::AddElements)
    }

    /// Deletes elements from a set or map. No elements, no step.
    pub fn delete_elements(
        &mut self,
        set: &Arc<Set>,
        elements: impl IntoIterator<Item = Element>,
    ) -> &mut Self {
        self.push_elements(set, elements, Operation::DeleteElements)
    }

    /// Deletes elements that may be gone: those of sets with a timeout go by themselves, at any
    /// moment between reading the set and this.
    ///
    /// Where the kernel lacks [`Features::destroy_elements`](crate::Features::destroy_elements) an
    /// element that is gone fails the transaction with an error that
    /// [`is_not_found`](crate::NftError::is_not_found); read the set anew and try again.
    pub fn destroy_elements(
        &mut self,
        set: &Arc<Set>,
        elements: impl IntoIterator<Item = Element>,
    ) -> &mut Self {
        self.push_elements(set, elements, Operation::DestroyElements)
    }

    /// Appends a step made elsewhere.
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
        make: fn(Arc<Set>, ElementList) -> Operation,
    ) -> &mut Self {
        let list: ElementList = elements.into_iter().collect();
        if list.is_empty() { self } else { self.push(make(Arc::clone(set), list)) }
    }
}

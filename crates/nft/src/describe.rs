//! Names operations in error messages.

use crate::print::Key;
use crate::{Element, Operation, Set, TableId};

/// What was tried: `add`, `delete` or `flush`.
pub(crate) fn verb(operation: &Operation) -> &'static str {
    match operation {
        Operation::AddTable(..)
        | Operation::AddChain(_)
        | Operation::AddRule(..)
        | Operation::AddSet(_)
        | Operation::AddElements(..) => "add",
        Operation::DeleteTable(_)
        | Operation::DeleteChain(_)
        | Operation::DeleteRule(..)
        | Operation::DeleteSet(_)
        | Operation::DeleteElements(..)
        | Operation::DestroyElements(..) => "delete",
        Operation::FlushChain(_) | Operation::FlushSet(_) => "flush",
    }
}

/// What it was tried on.
pub(crate) fn object(operation: &Operation, table: &TableId) -> String {
    match operation {
        Operation::AddTable(id, _) | Operation::DeleteTable(id) => format!("table {id}"),
        Operation::AddChain(chain) => format!("chain {table} {}", chain.name),
        Operation::DeleteChain(chain) | Operation::FlushChain(chain) => format!("chain {table} {chain}"),
        Operation::AddRule(chain, rule) => {
            format!("rule \"{}\" of chain {table} {chain}", rule.display(table.family))
        }
        Operation::DeleteRule(chain, handle) => format!("rule {handle} of chain {table} {chain}"),
        Operation::AddSet(set) => format!("{} {table} {}", set.noun(), set.name),
        Operation::DeleteSet(set) | Operation::FlushSet(set) => format!("set {table} {set}"),
        Operation::AddElements(set, list)
        | Operation::DeleteElements(set, list)
        | Operation::DestroyElements(set, list) => match list.len() {
            1 => list.iter().next().map_or_else(String::new, |only| element(&only, set, table)),
            many => format!("one of {many} elements of {} {table} {}", set.noun(), set.name),
        },
    }
}

/// One element of a set.
pub(crate) fn element(element: &Element, set: &Set, table: &TableId) -> String {
    let last = element.key_end.as_deref().map(crate::Bytes::as_slice);
    let key = Key { first: &element.key, last, selectors: &set.key, family: table.family };
    format!("element {key} of {} {table} {}", set.noun(), set.name)
}

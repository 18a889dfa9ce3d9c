//! Applies a transaction step by step, with the kernel's error numbers.

use std::io;
use std::sync::Arc;

use super::undo::Undo;
use super::{FakeChain, FakeSet, FakeTable, FakeTables};
use portolan_nft::{
    Chain, Element, ElementList, ElementValue, Features, NftError, Operation, Set, Table, TableId,
    Transaction,
};

/// Why a step was refused, and on which element if it had several.
struct Refusal {
    errno: i32,
    element: Option<Box<Element>>,
}

/// What becomes of an element to delete that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Refused,
    PassedOver,
}

impl From<i32> for Refusal {
    fn from(errno: i32) -> Self {
        Self { errno, element: None }
    }
}

impl FakeTables {
    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        let mut log = Vec::new();
        let applied = self.apply_all(transaction, &mut log).and_then(|()| self.validate_all(transaction));
        if applied.is_err() {
            log.into_iter().rev().for_each(|step| self.undo(step));
        }
        applied
    }

    fn apply_all(&mut self, transaction: &Transaction, log: &mut Vec<Undo>) -> Result<(), NftError> {
        for operation in transaction.operations() {
            self.step(transaction.table(), operation, log)
                .map_err(|refusal| refused(transaction.table(), operation, &refusal))?;
        }
        Ok(())
    }

    fn validate_all(&self, transaction: &Transaction) -> Result<(), NftError> {
        let Some(table) = self.tables.get(transaction.table()) else { return Ok(()) };
        let leads_on =
            |operation: &&Operation| matches!(operation, Operation::AddRule(..) | Operation::AddElements(..));
        let Some(last) = transaction.operations().iter().rfind(leads_on) else { return Ok(()) };
        table.validate().map_err(|errno| refused(transaction.table(), last, &errno.into()))
    }

    fn step(&mut self, own: &TableId, operation: &Operation, log: &mut Vec<Undo>) -> Result<(), Refusal> {
        match operation {
            Operation::AddTable(id, table) => self.add_table(id, table, log)?,
            Operation::DeleteTable(id) => {
                let before = self.tables.remove(id).ok_or(libc::ENOENT)?;
                log.push(Undo::Table(id.clone(), Some(Box::new(before))));
            }
            _ => {
                let table = self.tables.get_mut(own).ok_or(libc::ENOENT)?;
                return table.step(own, operation, self.features, log);
            }
        }
        Ok(())
    }

    fn add_table(&mut self, id: &TableId, table: &Table, log: &mut Vec<Undo>) -> Result<(), i32> {
        let flags = table.flags;
        if (flags.owner || flags.persist) && !self.features.owner_persist {
            return Err(libc::EOPNOTSUPP);
        }
        match self.tables.get(id) {
            // A table cannot be given an owner, nor lose it, once it is made.
            Some(present) if present.table.flags != flags => Err(libc::EOPNOTSUPP),
            Some(_) => Ok(()),
            None => {
                let new = FakeTable { table: table.clone(), ..FakeTable::default() };
                self.tables.insert(id.clone(), new);
                log.push(Undo::Table(id.clone(), None));
                Ok(())
            }
        }
    }
}

impl FakeTable {
    fn step(
        &mut self,
        id: &TableId,
        operation: &Operation,
        features: Features,
        log: &mut Vec<Undo>,
    ) -> Result<(), Refusal> {
        match operation {
            Operation::AddChain(chain) => self.add_chain(id, chain, log)?,
            Operation::DeleteChain(name) => self.delete_chain(id, name, log)?,
            Operation::FlushChain(name) => self.change_chain(id, name, log)?.rules.clear(),
            Operation::AddRule(name, rule) => {
                if !self.chains.contains_key(name) {
                    return Err(libc::ENOENT.into());
                }
                self.check_rule(rule, id.family)?;
                self.change_chain(id, name, log)?.rules.push(rule.clone());
            }
            // Rules have no numbers here.
            Operation::DeleteRule(..) => return Err(libc::EOPNOTSUPP.into()),
            Operation::AddSet(set) => self.add_set(id, set, log)?,
            Operation::DeleteSet(name) => {
                if !self.sets.contains_key(name) {
                    return Err(libc::ENOENT.into());
                }
                if self.statements().any(|statement| statement.set() == Some(name)) {
                    return Err(libc::EBUSY.into());
                }
                let before = self.sets.remove(name).map(Box::new);
                log.push(Undo::Set(id.clone(), Arc::clone(name), before));
            }
            Operation::FlushSet(name) => {
                let set = self.sets.get_mut(name).ok_or(libc::ENOENT)?;
                let empty = FakeSet::new(Arc::clone(set.set()), id.family);
                let before = std::mem::replace(set, empty);
                log.push(Undo::Set(id.clone(), Arc::clone(name), Some(Box::new(before))));
            }
            Operation::AddElements(set, list) => self.add_elements(id, set, list, log)?,
            Operation::DeleteElements(set, list) => {
                self.delete_elements(id, set, list, Absent::Refused, log)?;
            }
            Operation::DestroyElements(set, _) if set.interval => return Err(libc::EINVAL.into()),
            Operation::DestroyElements(set, list) => {
                let absent = if features.destroy_elements { Absent::PassedOver } else { Absent::Refused };
                self.delete_elements(id, set, list, absent, log)?;
            }
            Operation::AddTable(..) | Operation::DeleteTable(_) => {}
        }
        Ok(())
    }

    fn add_chain(&mut self, id: &TableId, chain: &Chain, log: &mut Vec<Undo>) -> Result<(), i32> {
        match self.chains.get(&chain.name) {
            // Without a hook nothing about an existing chain is contradicted.
            Some(present) if chain.base.is_some() && present.chain.base != chain.base => Err(libc::EEXIST),
            Some(_) => Ok(()),
            None => {
                let new = FakeChain { chain: chain.clone(), rules: Vec::new() };
                self.chains.insert(Arc::clone(&chain.name), new);
                log.push(Undo::Chain(id.clone(), Arc::clone(&chain.name), None));
                Ok(())
            }
        }
    }

    fn delete_chain(&mut self, id: &TableId, name: &Arc<str>, log: &mut Vec<Undo>) -> Result<(), i32> {
        if !self.chains.contains_key(name) {
            return Err(libc::ENOENT);
        }
        // Also from its own rules, which the kernel would delete with it: it counts before that.
        let jumped = self
            .statements()
            .any(|statement| statement.verdict().is_some_and(|verdict| verdict.target() == Some(name)));
        if jumped || self.sets.values().any(|set| set.is_target(name)) {
            return Err(libc::EBUSY);
        }
        let before = self.chains.remove(name);
        log.push(Undo::Chain(id.clone(), Arc::clone(name), before));
        Ok(())
    }

    fn change_chain(
        &mut self,
        id: &TableId,
        name: &Arc<str>,
        log: &mut Vec<Undo>,
    ) -> Result<&mut FakeChain, i32> {
        let chain = self.chains.get_mut(name).ok_or(libc::ENOENT)?;
        log.push(Undo::Chain(id.clone(), Arc::clone(name), Some(chain.clone())));
        Ok(chain)
    }

    fn add_set(&mut self, id: &TableId, set: &Arc<Set>, log: &mut Vec<Undo>) -> Result<(), i32> {
        match self.sets.get(&set.name) {
            Some(present) if **present.set() != **set => Err(libc::EEXIST),
            Some(_) => Ok(()),
            None => {
                self.sets.insert(Arc::clone(&set.name), FakeSet::new(Arc::clone(set), id.family));
                log.push(Undo::Set(id.clone(), Arc::clone(&set.name), None));
                Ok(())
            }
        }
    }

    fn add_elements(
        &mut self,
        id: &TableId,
        set: &Set,
        list: &ElementList,
        log: &mut Vec<Undo>,
    ) -> Result<(), Refusal> {
        for element in list {
            let added = self.add_element(&set.name, &element);
            match added {
                Ok(true) => log.push(Undo::Added(id.clone(), Arc::clone(&set.name), element)),
                Ok(false) => {}
                Err(errno) => return Err(Refusal { errno, element: Some(Box::new(element)) }),
            }
        }
        Ok(())
    }

    fn add_element(&mut self, set: &str, element: &Element) -> Result<bool, i32> {
        if let ElementValue::Verdict(verdict) = &element.value {
            self.check_verdict(verdict)?;
        }
        self.sets.get_mut(set).ok_or(libc::ENOENT)?.insert(element)
    }

    fn delete_elements(
        &mut self,
        id: &TableId,
        set: &Set,
        list: &ElementList,
        absent: Absent,
        log: &mut Vec<Undo>,
    ) -> Result<(), Refusal> {
        let present = self.sets.get_mut(&set.name).ok_or(libc::ENOENT)?;
        for element in list {
            match present.remove(&element) {
                Some(removed) => log.push(Undo::Removed(id.clone(), Arc::clone(&set.name), removed)),
                None if absent == Absent::PassedOver => {}
                None => return Err(Refusal { errno: libc::ENOENT, element: Some(Box::new(element)) }),
            }
        }
        Ok(())
    }
}

fn refused(table: &TableId, operation: &Operation, refusal: &Refusal) -> NftError {
    let object = match (&refusal.element, operation.elements()) {
        (Some(element), Some((set, _))) => element.describe(set, table),
        _ => operation.object(table),
    };
    NftError::Rejected {
        verb: operation.verb(),
        object,
        errno: refusal.errno,
        message: None,
        further: 0,
        source: io::Error::from_raw_os_error(refusal.errno),
    }
}

//! Checks a rule as it is added: what it names must exist and fit what is done with it.
//!
//! Stricter than the kernel in one thing. The kernel knows lengths but no types, and before Linux
//! 6.13 not even whether a register was filled; a key or an address of another length than the
//! set's would make it compare leftovers. Here that is an error like any other.

use super::FakeTable;
use portolan_nft::{Family, Rule, Selector, Set, SetData, SetTimeout, Statement, Verdict, key_len};

impl FakeTable {
    /// Sets and chains a rule names must exist, and sets be of the kind the rule needs.
    pub(super) fn check_rule(&self, rule: &Rule, family: Family) -> Result<(), i32> {
        for statement in &rule.statements {
            if let Some(name) = statement.set() {
                let set = self.sets.get(name).ok_or(libc::ENOENT)?;
                check_use(statement, set.set(), family)?;
            }
            if let Some(verdict) = statement.verdict() {
                self.check_verdict(&verdict)?;
            }
        }
        Ok(())
    }

    /// A base chain cannot be jumped to.
    pub(super) fn check_verdict(&self, verdict: &Verdict) -> Result<(), i32> {
        let Some(name) = verdict.target() else { return Ok(()) };
        match self.chains.get(name) {
            None => Err(libc::ENOENT),
            Some(chain) if chain.chain.base.is_some() => Err(libc::EOPNOTSUPP),
            Some(_) => Ok(()),
        }
    }
}

/// Whether a statement can be about `set`.
fn check_use(statement: &Statement, set: &Set, family: Family) -> Result<(), i32> {
    let holds = |length| matches!(set.data, SetData::Value(_)) && set.data_len(family) == length;
    let (key, good) = match statement {
        Statement::InSet { key, .. } => (key, true),
        Statement::Vmap { key, .. } => (key, set.data == SetData::Verdict),
        // A port takes a register of four bytes.
        Statement::DnatMap { key, .. } => (key, holds(family.addr_len() + 4)),
        Statement::DnatMapPort { key, .. } => (key, holds(family.addr_len())),
        Statement::UpdateMap { key, data, timeout, .. } => {
            check_filling(set, timeout.is_some())?;
            if !matches!(set.data, SetData::Value(_)) {
                return Err(libc::EOPNOTSUPP);
            }
            (key, holds(key_len(data, family)))
        }
        Statement::UpdateSet { key, timeout, .. } => {
            check_filling(set, timeout.is_some())?;
            (key, set.data == SetData::None)
        }
        _ => return Ok(()),
    };
    let fits = |key: &[Selector]| key_len(key, family) == set.key_len(family);
    if good && fits(key) { Ok(()) } else { Err(libc::EINVAL) }
}

/// Rules fill only sets made for it, and give times only where elements can have one.
fn check_filling(set: &Set, timed: bool) -> Result<(), i32> {
    let good = set.dynamic && !(timed && set.timeout == SetTimeout::None);
    if good { Ok(()) } else { Err(libc::EOPNOTSUPP) }
}

#[cfg(test)]
mod tests;

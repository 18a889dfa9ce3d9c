//! Checks what the kernel checks once a transaction is complete: where jumps lead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{FakeChain, FakeTable};
use portolan_nft::{BaseChain, ChainKind, Hook, Statement};

/// `NFT_JUMP_STACK_SIZE`, include/net/netfilter/nf_tables.h: how deep jumps may nest.
const JUMP_DEPTH: usize = 16;

impl FakeTable {
    /// Walks from every base chain to all it leads to.
    ///
    /// `ELOOP`: a chain leads back to itself. `EMLINK`: jumps nest too deep.
    /// `EOPNOTSUPP`: a statement stands where packets of another kind of chain
    /// or hook come by.
    pub(super) fn validate(&self) -> Result<(), i32> {
        self.refuse_loops()?;
        for base in self.chains.values() {
            let Some(hook) = base.chain.base else { continue };
            self.walk(base, hook, 0, &mut BTreeMap::new())?;
        }
        Ok(())
    }

    pub(super) fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.statements)
    }

    fn walk<'a>(
        &'a self,
        chain: &'a FakeChain,
        base: BaseChain,
        depth: usize,
        deepest: &mut BTreeMap<&'a str, usize>,
    ) -> Result<(), i32> {
        if depth >= JUMP_DEPTH {
            return Err(libc::EMLINK);
        }
        if deepest.get(&*chain.chain.name).is_some_and(|seen| *seen >= depth) {
            return Ok(());
        }
        deepest.insert(&chain.chain.name, depth);
        for statement in chain.rules.iter().flat_map(|rule| &rule.statements) {
            if !allowed(statement, base) {
                return Err(libc::EOPNOTSUPP);
            }
        }
        for next in self.leads_to(chain) {
            if let Some(next) = self.chains.get(next) {
                self.walk(next, base, depth + 1, deepest)?;
            }
        }
        Ok(())
    }

    /// The chains that a chain's rules and the verdict maps they use lead to.
    fn leads_to<'a>(&'a self, chain: &'a FakeChain) -> BTreeSet<&'a Arc<str>> {
        let mut next = BTreeSet::new();
        for statement in chain.rules.iter().flat_map(|rule| &rule.statements) {
            match statement {
                Statement::Jump(target) | Statement::Goto(target) => drop(next.insert(target)),
                Statement::Vmap { map, .. } => {
                    next.extend(self.sets.get(map).into_iter().flat_map(super::FakeSet::targets));
                }
                _ => {}
            }
        }
        next
    }

    /// Depth first over all chains, those no base chain leads to included.
    fn refuse_loops(&self) -> Result<(), i32> {
        let mut done = BTreeSet::new();
        for chain in self.chains.values() {
            self.refuse_loop(chain, &mut BTreeSet::new(), &mut done)?;
        }
        Ok(())
    }

    fn refuse_loop<'a>(
        &'a self,
        chain: &'a FakeChain,
        path: &mut BTreeSet<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Result<(), i32> {
        let name = &*chain.chain.name;
        if done.contains(name) {
            return Ok(());
        }
        if !path.insert(name) {
            return Err(libc::ELOOP);
        }
        for next in self.leads_to(chain).into_iter().filter_map(|next| self.chains.get(next)) {
            self.refuse_loop(next, path, done)?;
        }
        path.remove(name);
        done.insert(name);
        Ok(())
    }
}

/// Whether the kernel allows a statement where packets of `base` come by.
fn allowed(statement: &Statement, base: BaseChain) -> bool {
    match statement {
        Statement::DnatMap { .. } | Statement::DnatMapPort { .. } => {
            base.kind == ChainKind::Nat && matches!(base.hook, Hook::Prerouting | Hook::Output)
        }
        Statement::Masquerade { .. } => base.kind == ChainKind::Nat && base.hook == Hook::Postrouting,
        // Prerouting is allowed since Linux 5.9, and we need 5.10 at least.
        Statement::Reject | Statement::RejectTcpReset => base.hook != Hook::Postrouting,
        _ => true,
    }
}

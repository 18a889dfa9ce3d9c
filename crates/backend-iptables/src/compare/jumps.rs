//! The rules in the kernel's chains that lead to ours: which are there, and in their order.

use crate::digest::Digester;
use crate::names::{BuiltIn, Chain, Fixed, Table};
use crate::render::{Context, jumps};
use crate::rule::Target;

use super::BaseChanges;

/// The jumps that should be there, and those that are.
#[derive(Debug)]
pub(super) struct Jumps {
    /// In the order in which they are inserted.
    wanted: Vec<Jump>,
    /// In the order in which they stand.
    found: Vec<(Jump, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Jump {
    table: Table,
    from: BuiltIn,
    digest: u64,
    /// The kubelet has it as well, and wherever it stands it does.
    is_shared: bool,
}

impl Jumps {
    pub(super) fn new(digester: &Digester, cx: &Context<'_>) -> Self {
        let jump = |(table, from, rule): (Table, BuiltIn, crate::rule::Rule<'_>)| Jump {
            table,
            from,
            digest: digester.rule(Chain::BuiltIn(from), &rule),
            is_shared: rule.body.target == Some(Target::Jump(Chain::Fixed(Fixed::Firewall))),
        };
        Self { wanted: jumps(cx).map(jump).collect(), found: Vec::new() }
    }

    /// A rule in one of the kernel's chains.
    pub(super) fn found(&mut self, table: Table, from: BuiltIn, digest: u64, text: &str) {
        let is_this = |jump: &&Jump| (jump.table, jump.from, jump.digest) == (table, from, digest);
        if let Some(jump) = self.wanted.iter().find(is_this) {
            self.found.push((*jump, text.to_owned()));
        }
    }

    /// What is to be done about them.
    ///
    /// Rules of others may stand before ours, between and after them: nobody's jumps are moved for being
    /// lower than they were, or we and the others would go on for ever taking the top from each other. But
    /// where one of ours is missing, or they stand in another order, all of ours in that chain go to its top.
    pub(super) fn changes(&self) -> BaseChanges {
        let mut changes = BaseChanges::default();
        for (place, jump) in self.wanted.iter().enumerate() {
            if jump.is_shared {
                if !self.found.iter().any(|(found, _)| found == jump) {
                    changes.jumps.push((jump.table, place));
                }
            } else if !self.is_in_order(jump.table, jump.from) {
                changes.jumps.push((jump.table, place));
                let old = self.found.iter().filter(|(found, _)| found == jump);
                changes.old_jumps.extend(old.map(|(jump, text)| (jump.table, jump.from, text.clone())));
            }
        }
        changes
    }

    fn is_in_order(&self, table: Table, from: BuiltIn) -> bool {
        let is_here = |jump: &Jump| (jump.table, jump.from) == (table, from) && !jump.is_shared;
        let found = self.found.iter().map(|(jump, _)| jump).filter(|jump| is_here(jump));
        // The last that is inserted is the first.
        found.eq(self.wanted.iter().rev().filter(|jump| is_here(jump)))
    }
}

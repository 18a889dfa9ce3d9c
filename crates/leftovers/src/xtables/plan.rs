//! Decides what of a table goes and what has to stay: pure, whichever kind of iptables wrote the table.
//!
//! Kube-proxy's chains go, and with them the rules of built-in chains that lead into them. A chain stays when
//! somebody else's rule leads to it, and so does all it leads to itself. `KUBE-MARK-MASQ` is what others do
//! call, and it only sets a mark: `KUBE-POSTROUTING`, which acts on the mark, stays with it, in its place.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::chains::{MARK, MASQUERADE, Wanted, is_hooked};

/// A table, as far as removal needs to know it. `R` is what tells one rule from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table<R> {
    /// Its name, without the family.
    pub(super) name: String,
    /// Its chains.
    pub(super) chains: Vec<Chain<R>>,
}

/// A chain with those of its rules that may matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain<R> {
    /// Its name.
    pub(super) name: String,
    /// Where packets come from.
    pub(super) kind: ChainKind,
    /// Rules that lead to chains whose names begin as kube-proxy's do, at least.
    pub(super) calls: Vec<Call<R>>,
}

/// Where packets enter a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainKind {
    /// From the kernel.
    BuiltIn,
    /// From rules of other chains.
    User,
}

/// A rule that leads to another chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call<R> {
    /// What tells it from other rules.
    pub(super) rule: R,
    /// The chain it leads to.
    pub(super) to: String,
}

/// How the names of all chains begin that can be kube-proxy's.
pub(super) const PREFIX: &str = "KUBE-";

/// What is to go from a table, and what is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal<R> {
    /// The table's name.
    pub(super) table: String,
    /// Rules of built-in chains, with the chains' names.
    pub(super) jumps: Vec<(String, R)>,
    /// Chains, to be emptied first and then deleted.
    pub(super) chains: Vec<String>,
    /// Chains that stay, with the reason.
    pub(super) kept: BTreeMap<String, String>,
}

impl<R> Removal<R> {
    /// Whether nothing is to go.
    pub(super) fn is_empty(&self) -> bool {
        self.jumps.is_empty() && self.chains.is_empty()
    }

    /// How many objects are to go.
    pub(super) fn len(&self) -> usize {
        self.jumps.len() + self.chains.len()
    }
}

/// Plans the removal of the `wanted` chains. Those `in_use` stay: the kernel says so, though no rule shows it.
pub(super) fn plan<R: Clone>(table: &Table<R>, wanted: Wanted<'_>, in_use: &BTreeSet<String>) -> Removal<R> {
    let is_ours = |chain: &&Chain<R>| wanted.holds(&table.name, &chain.name);
    let ours: HashSet<&str> = table.chains.iter().filter(is_ours).map(|chain| chain.name.as_str()).collect();
    let mut keeping = Keeping { ours: &ours, kept: BTreeMap::new(), unfollowed: Vec::new() };
    let mut jumps = Vec::new();
    for chain in table.chains.iter().filter(|chain| !is_ours(chain)) {
        for call in chain.calls.iter().filter(|call| ours.contains(call.to.as_str())) {
            if chain.kind == ChainKind::BuiltIn && is_hooked(&table.name, &call.to) {
                jumps.push((chain.name.clone(), call));
            } else {
                keeping.keep(&call.to, format!("a rule of chain {} leads to it", chain.name));
            }
        }
    }
    for chain in in_use {
        keeping.keep(chain, "something else than a rule leads to it".to_owned());
    }
    keeping.follow(table);
    let kept = keeping.kept;
    jumps.retain(|(_, call)| call.to != MASQUERADE || !kept.contains_key(MASQUERADE));
    let goes = |name: &&str| !kept.contains_key(*name);
    Removal {
        table: table.name.clone(),
        jumps: jumps.into_iter().map(|(chain, call)| (chain, call.rule.clone())).collect(),
        // In the table's order, which is easier to read back than a random one.
        chains: table
            .chains
            .iter()
            .map(|chain| chain.name.as_str())
            .filter(|name| ours.contains(name))
            .filter(goes)
            .map(str::to_owned)
            .collect(),
        kept,
    }
}

/// Collects what stays, and what that needs.
struct Keeping<'a> {
    ours: &'a HashSet<&'a str>,
    kept: BTreeMap<String, String>,
    unfollowed: Vec<String>,
}

impl Keeping<'_> {
    fn keep(&mut self, chain: &str, reason: String) {
        if self.ours.contains(chain) && !self.kept.contains_key(chain) {
            self.kept.insert(chain.to_owned(), reason);
            self.unfollowed.push(chain.to_owned());
        }
    }

    /// Keeps what kept chains lead to.
    fn follow<R>(&mut self, table: &Table<R>) {
        while let Some(kept) = self.unfollowed.pop() {
            let calls = table.chains.iter().filter(|chain| chain.name == kept).flat_map(|chain| &chain.calls);
            for call in calls {
                self.keep(&call.to, format!("chain {kept}, which stays, leads to it"));
            }
            if kept == MARK {
                self.keep(MASQUERADE, format!("chain {MARK}, which stays, is of no use without it"));
            }
        }
    }
}

#[cfg(test)]
mod tests;

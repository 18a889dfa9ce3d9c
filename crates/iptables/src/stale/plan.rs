//! Decides what of a table is removed and what has to stay: pure, whichever variant of iptables wrote the table.
//!
//! Stale chains are removed, and with them the rules of built-in chains that lead into them. A chain stays when
//! a rule of another program leads to it, and so does all it leads to itself. Other programs do call
//! `KUBE-MARK-MASQ`, which only sets a mark: `KUBE-POSTROUTING`, which acts on the mark, stays with it, in its place.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use portolan_core::backend::CleanupReport;

use super::chains::{MARK, MASQUERADE, StaleChains, is_hooked};

/// A table, as far as removal needs to know it. `R` identifies a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table<R> {
    /// Its name, without the family.
    pub(super) name: String,
    /// Its chains.
    pub(super) chains: Vec<Chain<R>>,
    /// Their indices.
    places: HashMap<String, usize>,
}

/// A chain with its jumps to other chains.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain<R> {
    pub(super) name: String,
    /// Whether packets enter it from the kernel, and not only from rules of other chains.
    pub(super) is_built_in: bool,
    /// Rules that jump to other chains, with these chains.
    pub(super) jumps: Vec<(R, String)>,
}

impl<R> Chain<R> {
    pub(super) fn new(name: &str, is_built_in: bool) -> Self {
        Self { name: name.to_owned(), is_built_in, jumps: Vec::new() }
    }
}

impl<R> Table<R> {
    pub(super) fn new(name: &str, chains: impl IntoIterator<Item = Chain<R>>) -> Self {
        let mut table = Self { name: name.to_owned(), chains: Vec::new(), places: HashMap::new() };
        chains.into_iter().for_each(|chain| table.add(chain));
        table
    }

    pub(super) fn add(&mut self, chain: Chain<R>) {
        self.places.insert(chain.name.clone(), self.chains.len());
        self.chains.push(chain);
    }

    /// Adds a rule, unless its chain is unknown: that was created after the chains were read.
    pub(super) fn add_jump(&mut self, chain: &str, rule: R, target: &str) {
        if let Some(index) = self.places.get(chain) {
            self.chains[*index].jumps.push((rule, target.to_owned()));
        }
    }
}

/// What is removed from a table, and what is not.
#[derive(Debug, PartialEq, Eq)]
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
    /// Whether nothing is removed.
    pub(super) fn is_empty(&self) -> bool {
        self.jumps.is_empty() && self.chains.is_empty()
    }

    /// Counts what was removed from `table`, and names what was kept.
    pub(super) fn report(&self, table: &str, report: &mut CleanupReport) {
        report.removed += self.jumps.len() + self.chains.len();
        let kept = self.kept.iter().map(|(chain, why)| format!("chain {chain} of {table}: {why}"));
        report.kept.extend(kept);
    }
}

/// Plans the removal of the stale chains. Those `in_use` stay: the kernel says so, though no rule shows it.
pub(super) fn plan<R: Clone>(
    table: &Table<R>,
    stale: StaleChains<'_>,
    in_use: &BTreeSet<String>,
) -> Removal<R> {
    let is_stale = |chain: &&Chain<R>| stale.contains(&table.name, &chain.name);
    let candidates = table.chains.iter().filter(is_stale).map(|chain| chain.name.as_str()).collect();
    let mut keeping = Keeping { candidates, kept: BTreeMap::new(), unfollowed: Vec::new() };
    let mut jumps = Vec::new();
    for chain in table.chains.iter().filter(|chain| !is_stale(chain)) {
        for (rule, target) in &chain.jumps {
            if !keeping.candidates.contains(target.as_str()) {
                continue;
            }
            if chain.is_built_in && is_hooked(&table.name, target) {
                jumps.push((chain.name.clone(), rule.clone(), target));
            } else {
                keeping.keep(target, format!("a rule of chain {} leads to it", chain.name));
            }
        }
    }
    for chain in in_use {
        keeping.keep(chain, "something else than a rule leads to it".to_owned());
    }
    let kept = keeping.followed(table);
    let keeps_masquerade = kept.contains_key(MASQUERADE);
    jumps.retain(|(_, _, target)| *target != MASQUERADE || !keeps_masquerade);
    let goes = |chain: &&Chain<R>| is_stale(chain) && !kept.contains_key(&chain.name);
    Removal {
        table: table.name.clone(),
        jumps: jumps.into_iter().map(|(chain, rule, _)| (chain, rule)).collect(),
        chains: table.chains.iter().filter(goes).map(|chain| chain.name.clone()).collect(),
        kept,
    }
}

/// Collects the chains that stay, and the ones that they need.
struct Keeping<'a> {
    candidates: HashSet<&'a str>,
    kept: BTreeMap<String, String>,
    unfollowed: Vec<String>,
}

impl Keeping<'_> {
    fn keep(&mut self, chain: &str, reason: String) {
        if self.candidates.contains(chain) && !self.kept.contains_key(chain) {
            self.kept.insert(chain.to_owned(), reason);
            self.unfollowed.push(chain.to_owned());
        }
    }

    /// All of them, including those that kept chains lead to.
    fn followed<R>(mut self, table: &Table<R>) -> BTreeMap<String, String> {
        while let Some(kept) = self.unfollowed.pop() {
            let chain = table.places.get(&kept).map(|index| &table.chains[*index]);
            for (_, target) in chain.into_iter().flat_map(|chain| &chain.jumps) {
                self.keep(target, format!("chain {kept}, which stays, leads to it"));
            }
            if kept == MARK {
                self.keep(MASQUERADE, format!("chain {MARK}, which stays, is of no use without it"));
            }
        }
        self.kept
    }
}

#[cfg(test)]
mod tests;

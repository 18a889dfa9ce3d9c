//! Compares what `iptables-save` prints with what a plan needs.
//!
//! Lines are read one by one. Only hashes of them are kept, and the text of rules that have to be deleted. A full
//! sync compares everything; an integrity check compares what does not depend on Services, and counts the rest.

use std::collections::{HashMap, HashSet};

use portolan_core::NodePlan;

use crate::edit::RuleCounts;
use crate::hasher::{ChainHash, RuleHasher};
use crate::names::{BuiltIn, Chain, Fixed, Table};
use crate::render::{Context, LISTS, ListRule, fixed_chains, jumps, last_rules, list_rules};
use crate::rule::{Target, parse, words};
use crate::saved::{Saved, read};
use crate::tables::Jump;

/// How many rules are deleted from a list one by one at most; if there are more, the list is written as a whole.
///
/// The programs search the whole list for each: a thousand of ten thousand take iptables-nft as long as writing all
/// of them again.
pub(crate) const MAX_DELETIONS: usize = 500;

/// The list that [`last_rules`] end.
pub(crate) const LAST_RULES_LIST: (Table, Fixed) = (Table::Nat, Fixed::Services);

/// The rules that do not depend on Services.
#[derive(Debug)]
pub(crate) struct BaseRules {
    chains: HashMap<(Table, Fixed), ChainHash>,
    /// Our rules in `KUBE-FIREWALL`, which may have others.
    firewall: HashSet<u64>,
    last: Vec<u64>,
    /// In the order in which they are inserted.
    pub(crate) jumps: Vec<Jump>,
    /// Their hashes.
    jump_hashes: Vec<u64>,
}

impl BaseRules {
    pub(crate) fn new(hasher: &RuleHasher, cx: &Context<'_>) -> Self {
        let (mut chains, mut firewall) = (HashMap::new(), HashSet::new());
        for fixed in fixed_chains(cx) {
            let chain = Chain::Fixed(fixed.chain);
            if fixed.chain == Fixed::Firewall {
                firewall.extend(fixed.rules.iter().map(|rule| hasher.rule(chain, rule)));
            }
            chains.insert((fixed.table, fixed.chain), hasher.chain(chain, &fixed.rules));
        }
        let services = Chain::Fixed(LAST_RULES_LIST.1);
        let last = last_rules(cx).iter().map(|rule| hasher.rule(services, rule)).collect();
        let (mut wanted, mut jump_hashes) = (Vec::new(), Vec::new());
        for (table, from, rule) in jumps(cx) {
            if let Some(Target::Jump(Chain::Fixed(to))) = rule.body.target {
                wanted.push(Jump { table, from, to });
                jump_hashes.push(hasher.rule(Chain::BuiltIn(from), &rule));
            }
        }
        Self { chains, firewall, last, jumps: wanted, jump_hashes }
    }

    /// How many there are; jumps do not count.
    pub(crate) fn counts(&self) -> RuleCounts {
        let mut counts = RuleCounts { nat: self.last.len(), ..RuleCounts::default() };
        for ((table, _), chain) in &self.chains {
            counts.add(*table, chain.rules);
        }
        counts
    }

    /// The index of a jump by its table, chain and hash.
    fn jump(&self, table: Table, from: BuiltIn, hash: u64) -> Option<usize> {
        let mut jumps = self.jumps.iter().zip(&self.jump_hashes);
        jumps.position(|(jump, other)| (jump.table, jump.from, *other) == (table, from, hash))
    }
}

/// A rule in a list, by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ListLine {
    table: Table,
    list: Fixed,
    hash: u64,
}

impl ListLine {
    pub(crate) fn of(hasher: &RuleHasher, ListRule { table, list, rule }: &ListRule<'_>) -> Self {
        Self { table: *table, list: *list, hash: hasher.rule(Chain::Fixed(*list), rule) }
    }
}

/// A rule in a list that no service port has.
#[derive(Debug)]
pub(crate) struct StaleRule {
    pub(crate) table: Table,
    pub(crate) list: Fixed,
    /// The words after the chain's name, as printed.
    pub(crate) text: String,
    hash: u64,
    /// Counted from zero in its list.
    index: usize,
}

impl StaleRule {
    fn is_in(&self, list: (Table, Fixed)) -> bool {
        (self.table, self.list) == list
    }
}

/// How tables differ from a plan.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) base: BaseChanges,
    /// Rules of service ports that are not in their lists, and how often.
    pub(crate) missing: HashMap<ListLine, u32>,
    /// The chains of service ports that exist.
    pub(crate) chains: HashMap<Chain, ChainHash>,
    /// Rules to be deleted from lists.
    pub(crate) stale: Vec<StaleRule>,
    /// Lists to be written as a whole.
    pub(crate) rewritten: Vec<(Table, Fixed)>,
}

/// What has to be written for all service ports.
#[derive(Debug, Default)]
pub(crate) struct BaseChanges {
    /// Chains to be created or replaced; lists are only created.
    pub(crate) chains: HashSet<(Table, Fixed)>,
    /// Chains to which our rules are added.
    pub(crate) completed: HashSet<(Table, Fixed)>,
    /// Whether the [`last_rules`] are missing.
    pub(crate) needs_last_rules: bool,
    /// Jumps to be deleted first: the words after the chain's name, as printed.
    pub(crate) old_jumps: Vec<(Table, BuiltIn, String)>,
    /// Indexes of jumps to be inserted at the top.
    pub(crate) jumps: Vec<usize>,
}

/// Reads what `iptables-save` prints.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    parser: Parser<'a>,
    base: &'a BaseRules,
    table: Option<Table>,
    /// Fixed chains and lists that exist. The rules of lists are only counted.
    fixed: HashMap<(Table, Fixed), ChainHash>,
    /// Our rules in `KUBE-FIREWALL`.
    firewall: HashSet<u64>,
    /// Jumps in the order in which they are printed, by their indexes.
    jumps: Vec<(usize, String)>,
    counts: RuleCounts,
    /// Absent in an integrity check.
    services: Option<Services>,
}

/// Parses and hashes printed rules.
#[derive(Debug)]
struct Parser<'a> {
    hasher: &'a RuleHasher,
    /// Reused for each rule.
    words: Vec<String>,
}

impl Parser<'_> {
    fn hash(&mut self, chain: Chain, text: &str) -> u64 {
        let rule = words(text, &mut self.words).and_then(parse);
        rule.map_or_else(|| self.hasher.unknown(text), |rule| self.hasher.rule(chain, &rule))
    }
}

/// The part of a comparison that depends on Services.
#[derive(Debug, Default)]
struct Services {
    missing: HashMap<ListLine, u32>,
    chains: HashMap<Chain, ChainHash>,
    stale: Vec<StaleRule>,
}

impl<'a> Comparison<'a> {
    /// Compares everything, for a full sync.
    pub(crate) fn new(
        hasher: &'a RuleHasher,
        base: &'a BaseRules,
        cx: &Context<'_>,
        plan: &NodePlan,
    ) -> Self {
        let mut services = Services::default();
        for (name, port) in &plan.service_ports {
            for rule in list_rules(cx, name, port) {
                *services.missing.entry(ListLine::of(hasher, &rule)).or_default() += 1;
            }
        }
        Self { services: Some(services), ..Self::of_base(hasher, base) }
    }

    /// Compares what does not depend on Services, for an integrity check.
    pub(crate) fn of_base(hasher: &'a RuleHasher, base: &'a BaseRules) -> Self {
        Self {
            parser: Parser { hasher, words: Vec::new() },
            base,
            table: None,
            fixed: HashMap::new(),
            firewall: HashSet::new(),
            jumps: Vec::new(),
            counts: RuleCounts::default(),
            services: None,
        }
    }

    /// Reads one line.
    pub(crate) fn read(&mut self, line: &str) {
        match (read(line), self.table) {
            (Saved::Table(table), _) => self.table = table,
            (Saved::Chain(name), Some(table)) => match (Chain::parse(name), &mut self.services) {
                (Some(Chain::Fixed(chain)), _) => {
                    self.fixed.entry((table, chain)).or_default();
                }
                (Some(chain @ Chain::Own(..)), Some(services)) if table == Table::Nat => {
                    services.chains.entry(chain).or_default();
                }
                _ => {}
            },
            (Saved::Rule { chain, rule }, Some(table)) => {
                if let Some(chain) = Chain::parse(chain) {
                    self.rule(table, chain, rule);
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, table: Table, chain: Chain, text: &str) {
        match chain {
            Chain::BuiltIn(from) => {
                let hash = self.parser.hash(chain, text);
                if let Some(index) = self.base.jump(table, from, hash) {
                    self.jumps.push((index, text.to_owned()));
                }
            }
            Chain::Fixed(list) if LISTS.contains(&(table, list)) => {
                self.counts.add(table, 1);
                self.list_rule(table, list, text);
            }
            Chain::Fixed(fixed) if fixed.is_in(table) => {
                let hash = self.parser.hash(chain, text);
                self.parser.hasher.append(self.fixed.entry((table, fixed)).or_default(), hash);
                // Of those in `KUBE-FIREWALL` ours count, each once.
                if fixed != Fixed::Firewall
                    || (self.base.firewall.contains(&hash) && self.firewall.insert(hash))
                {
                    self.counts.add(table, 1);
                }
            }
            Chain::Own(..) if table == Table::Nat => {
                self.counts.nat += 1;
                if let Some(services) = &mut self.services {
                    let hash = self.parser.hash(chain, text);
                    self.parser.hasher.append(services.chains.entry(chain).or_default(), hash);
                }
            }
            Chain::Fixed(_) | Chain::Own(..) => {}
        }
    }

    fn list_rule(&mut self, table: Table, list: Fixed, text: &str) {
        let Some(services) = &mut self.services else { return };
        let hash = self.parser.hash(Chain::Fixed(list), text);
        let found = self.fixed.entry((table, list)).or_default();
        let index = found.rules;
        found.rules += 1;
        match services.missing.get_mut(&ListLine { table, list, hash }) {
            Some(count) if *count > 0 => *count -= 1,
            _ => services.stale.push(StaleRule { table, list, text: text.to_owned(), hash, index }),
        }
    }

    /// After all lines: whether everything that does not depend on Services is there, and as many rules in our
    /// chains as these.
    pub(crate) fn is_intact(&self, rules: RuleCounts) -> bool {
        let has_jump = |index: usize| self.jumps.iter().any(|(found, _)| *found == index);
        (0..self.base.jumps.len()).all(has_jump)
            && self.firewall.len() == self.base.firewall.len()
            && self.base.chains.keys().all(|chain| self.fixed.contains_key(chain))
            && self.counts == rules
    }

    /// After all lines: how the tables differ from the plan.
    pub(crate) fn finish(mut self) -> Differences {
        let mut services = self.services.take().unwrap_or_default();
        let mut base = self.jump_changes();
        base.needs_last_rules = !self.take_last_rules(&mut services.stale);
        base.chains.extend(LISTS.into_iter().filter(|list| !self.fixed.contains_key(list)));
        for (chain, wanted) in &self.base.chains {
            let found = self.fixed.get(chain);
            // The kubelet uses `KUBE-FIREWALL` too, and its rules stay.
            if chain.1 == Fixed::Firewall && found.is_some() {
                if self.firewall.len() < self.base.firewall.len() {
                    base.completed.insert(*chain);
                }
            } else if found != Some(wanted) {
                base.chains.insert(*chain);
            }
        }
        let is_long =
            |list: &_| services.stale.iter().filter(|rule| rule.is_in(*list)).count() > MAX_DELETIONS;
        let rewritten: Vec<_> = LISTS.into_iter().filter(is_long).collect();
        services.stale.retain(|rule| !rewritten.contains(&(rule.table, rule.list)));
        services.missing.retain(|line, _| !rewritten.contains(&(line.table, line.list)));
        let Services { missing, chains, stale } = services;
        Differences { base, missing, chains, stale, rewritten }
    }

    /// Takes the [`last_rules`] out of the stale rules, if they are there, in order and last.
    fn take_last_rules(&self, stale: &mut Vec<StaleRule>) -> bool {
        let length = self.fixed.get(&LAST_RULES_LIST).map_or(0, |list| list.rules);
        let Some(first) = length.checked_sub(self.base.last.len()) else { return false };
        let is_last = |rule: &StaleRule| rule.is_in(LAST_RULES_LIST) && rule.index >= first;
        let found = stale.iter().filter(|rule| is_last(rule)).map(|rule| rule.hash);
        if !found.eq(self.base.last.iter().copied()) {
            return false;
        }
        stale.retain(|rule| !is_last(rule));
        true
    }

    /// Rules of others may stand before, between and after our jumps. Jumps are not moved because others were
    /// inserted above them: two programs that do so would never stop. But if one of ours is missing, or they are in
    /// another order, all of ours in that chain are moved to its top.
    fn jump_changes(&self) -> BaseChanges {
        let mut changes = BaseChanges::default();
        for (index, jump) in self.base.jumps.iter().enumerate() {
            let found = || self.jumps.iter().filter(|(found, _)| *found == index);
            if jump.to == Fixed::Firewall {
                // The kubelet has this jump too, so its place does not matter.
                if found().next().is_none() {
                    changes.jumps.push(index);
                }
            } else if !self.is_in_order(jump.table, jump.from) {
                changes.jumps.push(index);
                changes.old_jumps.extend(found().map(|(_, text)| (jump.table, jump.from, text.clone())));
            }
        }
        changes
    }

    fn is_in_order(&self, table: Table, from: BuiltIn) -> bool {
        let is_here = |index: &usize| {
            let jump = self.base.jumps[*index];
            (jump.table, jump.from) == (table, from) && jump.to != Fixed::Firewall
        };
        let found = self.jumps.iter().map(|(index, _)| *index).filter(is_here);
        // The last that is inserted is the first.
        found.eq((0..self.base.jumps.len()).rev().filter(is_here))
    }
}

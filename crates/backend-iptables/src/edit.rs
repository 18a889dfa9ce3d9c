//! Parts of a change, as lines: each can be made or rejected alone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use portolan_core::plan::ServicePort;
use portolan_core::{NodePlan, ServicePortName};

use crate::compare::{BaseChanges, Differences, LAST_RULES_LIST, ListLine, StaleRule};
use crate::hasher::RuleHasher;
use crate::names::{Chain, Fixed, Table};
use crate::render::{Context, LISTS, ListRule, fixed_chains, jumps, last_rules, list_rules, own_chains};
use crate::restore::Lines;

/// One part of a change.
#[derive(Debug)]
pub(crate) struct Edit<'p> {
    subject: Subject<'p>,
    /// The lines of each [`Pass`].
    lines: [Lines; Pass::ALL.len()],
    /// Number of chains in its lines.
    pub(crate) chains: usize,
    /// Number of rules that it inserts into lists.
    pub(crate) insertions: usize,
    /// Number of rules that it deletes from lists.
    pub(crate) deletions: usize,
    /// Number of rules of its service port before, if it is known, and after.
    pub(crate) before: RuleCounts,
    pub(crate) after: RuleCounts,
}

#[derive(Debug)]
enum Subject<'p> {
    ServicePort(&'p ServicePortName),
    /// A list that is written as a whole.
    List(Table, Fixed),
    /// A rule in a list that no service port has.
    StaleRule(Table, Fixed),
    /// A chain that no service port has.
    StaleChain(Chain),
}

/// The order in which the parts of a change are written. Each pass is one restore of one table.
///
/// Rules in filter reject packets whose destination nat does not translate; they do not match packets that it does.
/// So rejecting rules are inserted before nat changes and deleted after: a packet never meets neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    InsertIntoFilter,
    Nat,
    DeleteFromFilter,
}

impl Pass {
    pub(crate) const ALL: [Self; 3] = [Self::InsertIntoFilter, Self::Nat, Self::DeleteFromFilter];

    /// The table that is restored.
    pub(crate) fn table(self) -> Table {
        match self {
            Self::InsertIntoFilter | Self::DeleteFromFilter => Table::Filter,
            Self::Nat => Table::Nat,
        }
    }

    fn of_insertion(table: Table) -> Self {
        if table == Table::Nat { Self::Nat } else { Self::InsertIntoFilter }
    }

    fn of_deletion(table: Table) -> Self {
        if table == Table::Nat { Self::Nat } else { Self::DeleteFromFilter }
    }
}

/// Numbers of rules by table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RuleCounts {
    pub(crate) filter: usize,
    pub(crate) nat: usize,
}

impl RuleCounts {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { filter: self.filter + other.filter, nat: self.nat + other.nat }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self { filter: self.filter.saturating_sub(other.filter), nat: self.nat.saturating_sub(other.nat) }
    }

    /// Adds rules of a table.
    pub(crate) fn add(&mut self, table: Table, rules: usize) {
        match table {
            Table::Mangle => {}
            Table::Filter => self.filter += rules,
            Table::Nat => self.nat += rules,
        }
    }
}

/// A rule in a list as it is written.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Written {
    table: Table,
    list: Fixed,
    /// The words after the chain's name, with a leading space.
    words: String,
}

impl From<ListRule<'_>> for Written {
    fn from(ListRule { table, list, rule }: ListRule<'_>) -> Self {
        Self { table, list, words: rule.to_string() }
    }
}

/// The lines of a service port.
#[derive(Debug, Default)]
struct Rendered {
    chains: Vec<(Chain, Lines)>,
    list_rules: Vec<Written>,
    counts: RuleCounts,
}

impl Rendered {
    fn of(cx: &Context<'_>, name: &ServicePortName, port: Option<&ServicePort>) -> Self {
        let mut rendered = Self::default();
        let Some(port) = port else { return rendered };
        for (chain, rules) in own_chains(cx, name, port) {
            rendered.counts.nat += rules.len();
            rendered.chains.push((chain, appended(chain, &rules)));
        }
        for rule in list_rules(cx, name, port) {
            rendered.counts.add(rule.table, 1);
            rendered.list_rules.push(rule.into());
        }
        rendered
    }
}

impl<'p> Edit<'p> {
    fn new(subject: Subject<'p>) -> Self {
        let (lines, before, after) = Default::default();
        Self { subject, lines, chains: 0, insertions: 0, deletions: 0, before, after }
    }

    /// Changes a service port from `old` to `new`.
    pub(crate) fn between(
        cx: &Context<'_>,
        name: &'p ServicePortName,
        old: Option<&ServicePort>,
        new: Option<&ServicePort>,
    ) -> Self {
        let mut edit = Self::new(Subject::ServicePort(name));
        let (old, new) = (Rendered::of(cx, name, old), Rendered::of(cx, name, new));
        (edit.before, edit.after) = (old.counts, new.counts);
        let present: HashMap<_, _> = old.chains.iter().map(|(chain, lines)| (chain, lines)).collect();
        let changed = new.chains.iter().filter(|(chain, lines)| present.get(chain) != Some(&lines));
        let wanted: HashSet<_> = new.chains.iter().map(|(chain, _)| chain).collect();
        let gone = old.chains.iter().filter(|(chain, _)| !wanted.contains(chain));
        for (chain, _) in changed.clone().chain(gone.clone()) {
            edit.declare(*chain);
        }
        for (_, lines) in changed {
            edit.nat().extend(lines);
        }
        edit.delete(without(&old.list_rules, &new.list_rules));
        edit.insert(without(&new.list_rules, &old.list_rules));
        for (chain, _) in gone {
            edit.nat().remove(*chain);
        }
        edit
    }

    /// Writes what of a service port is not there: chains that differ from `found.chains`, from which they are
    /// taken, and rules that are counted in `found.missing`, from which they are subtracted.
    pub(crate) fn missing(
        hasher: &RuleHasher,
        cx: &Context<'_>,
        (name, port): (&'p ServicePortName, &ServicePort),
        found: &mut Differences,
    ) -> Self {
        let mut edit = Self::new(Subject::ServicePort(name));
        let mut appends = Lines::default();
        for (chain, rules) in own_chains(cx, name, port) {
            edit.after.nat += rules.len();
            if found.chains.remove(&chain) != Some(hasher.chain(chain, &rules)) {
                edit.declare(chain);
                appends.extend(&appended(chain, &rules));
            }
        }
        edit.nat().extend(&appends);
        let mut missing = Vec::new();
        for rule in list_rules(cx, name, port) {
            edit.after.add(rule.table, 1);
            if take(&mut found.missing, &ListLine::of(hasher, &rule)) {
                missing.push(Written::from(rule));
            }
        }
        edit.insert(missing.iter());
        edit
    }

    /// Moves the rules of a service port, which are there, to the top of nat's lists.
    pub(crate) fn to_top(cx: &Context<'_>, name: &'p ServicePortName, port: &ServicePort) -> Self {
        let mut edit = Self::new(Subject::ServicePort(name));
        let rules = list_rules(cx, name, port).into_iter().filter(|rule| rule.table == Table::Nat);
        let rules: Vec<_> = rules.map(Written::from).collect();
        edit.delete(rules.iter());
        edit.insert(rules.iter());
        edit
    }

    /// Replaces a list by the rules of all service ports but those in `rejected`.
    pub(crate) fn list(
        cx: &Context<'_>,
        plan: &NodePlan,
        rejected: &BTreeSet<ServicePortName>,
        (table, list): (Table, Fixed),
    ) -> Self {
        let mut edit = Self::new(Subject::List(table, list));
        let lines = edit.pass(Pass::of_insertion(table));
        let chain = Chain::Fixed(list);
        lines.declare(chain);
        for (name, port) in plan.service_ports.iter().filter(|(name, _)| !rejected.contains(name)) {
            let rules = list_rules(cx, name, port).into_iter();
            for rule in rules.filter(|rule| (rule.table, rule.list) == (table, list)) {
                lines.append(chain, &[rule.rule]);
            }
        }
        if (table, list) == LAST_RULES_LIST {
            lines.append(chain, &last_rules(cx));
        }
        edit
    }

    /// Deletes a rule from a list.
    pub(crate) fn stale_rule(StaleRule { table, list, text, .. }: &StaleRule) -> Self {
        let mut edit = Self::new(Subject::StaleRule(*table, *list));
        edit.pass(Pass::of_deletion(*table)).delete(Chain::Fixed(*list), format_args!(" {text}"));
        edit
    }

    /// Removes a chain.
    pub(crate) fn stale_chain(chain: Chain) -> Self {
        let mut edit = Self::new(Subject::StaleChain(chain));
        edit.declare(chain);
        edit.nat().remove(chain);
        edit
    }

    /// The lines of one pass.
    pub(crate) fn lines(&self, pass: Pass) -> &str {
        self.lines[pass as usize].as_str()
    }

    /// The size of all lines, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.lines.iter().map(|lines| lines.as_str().len()).sum()
    }

    /// The service port that it changes.
    pub(crate) fn service_port(&self) -> Option<&'p ServicePortName> {
        match self.subject {
            Subject::ServicePort(name) => Some(name),
            _ => None,
        }
    }

    /// The chain that it removes because no service port has it.
    pub(crate) fn removed_chain(&self) -> Option<Chain> {
        match self.subject {
            Subject::StaleChain(chain) => Some(chain),
            _ => None,
        }
    }

    /// What failed if this is rejected, after `the kernel refused to`.
    pub(crate) fn action(&self) -> String {
        match &self.subject {
            Subject::ServicePort(name) => format!("serve {name:?}"),
            Subject::List(table, list) => format!("write {} of table {table}", list.as_str()),
            Subject::StaleRule(table, list) => {
                format!("delete a rule of {} of table {table}", list.as_str())
            }
            Subject::StaleChain(chain) => format!("delete chain {chain}"),
        }
    }

    fn pass(&mut self, pass: Pass) -> &mut Lines {
        &mut self.lines[pass as usize]
    }

    fn nat(&mut self) -> &mut Lines {
        self.pass(Pass::Nat)
    }

    fn declare(&mut self, chain: Chain) {
        self.chains += 1;
        self.nat().declare(chain);
    }

    fn delete<'r>(&mut self, rules: impl Iterator<Item = &'r Written>) {
        for Written { table, list, words } in rules {
            self.deletions += 1;
            self.pass(Pass::of_deletion(*table)).delete(Chain::Fixed(*list), words);
        }
    }

    /// The last first, since each goes to the top: a rule that counts packets stays above the one that takes them.
    fn insert<'r>(&mut self, rules: impl DoubleEndedIterator<Item = &'r Written>) {
        for Written { table, list, words } in rules.rev() {
            self.insertions += 1;
            self.pass(Pass::of_insertion(*table)).insert(Chain::Fixed(*list), words);
        }
    }
}

/// The lines of one table that write what all service ports need. The changes of a table take effect at once, so
/// the order among chains and jumps means nothing.
pub(crate) fn base_lines(cx: &Context<'_>, changes: &BaseChanges, table: Table) -> Lines {
    let mut lines = Lines::default();
    let fixed: Vec<_> = fixed_chains(cx).into_iter().filter(|fixed| fixed.table == table).collect();
    let lists = LISTS.into_iter().filter(|(of, _)| *of == table).map(|(_, list)| list);
    for chain in lists.chain(fixed.iter().map(|fixed| fixed.chain)) {
        if changes.chains.contains(&(table, chain)) {
            lines.declare(Chain::Fixed(chain));
        }
    }
    for fixed in &fixed {
        let key = (table, fixed.chain);
        if changes.chains.contains(&key) || changes.completed.contains(&key) {
            lines.append(Chain::Fixed(fixed.chain), &fixed.rules);
        }
    }
    if changes.needs_last_rules && table == LAST_RULES_LIST.0 {
        let list = Chain::Fixed(LAST_RULES_LIST.1);
        lines.append(list, &last_rules(cx));
    }
    for (_, from, text) in changes.old_jumps.iter().filter(|(of, ..)| *of == table) {
        lines.delete(Chain::BuiltIn(*from), format_args!(" {text}"));
    }
    for (index, (of, from, rule)) in jumps(cx).enumerate() {
        if of == table && changes.jumps.contains(&index) {
            lines.insert(Chain::BuiltIn(from), rule);
        }
    }
    lines
}

fn appended(chain: Chain, rules: &[crate::rule::Rule<'_>]) -> Lines {
    let mut lines = Lines::default();
    lines.append(chain, rules);
    lines
}

/// Those of `rules` that are not in `others`. A rule that occurs twice counts twice.
fn without<'r>(rules: &'r [Written], others: &[Written]) -> impl DoubleEndedIterator<Item = &'r Written> {
    let mut counts = HashMap::with_capacity(others.len());
    for rule in others {
        *counts.entry(rule).or_default() += 1;
    }
    let rest: Vec<_> = rules.iter().filter(|rule| !take(&mut counts, rule)).collect();
    rest.into_iter()
}

/// Subtracts one from a count that is not zero.
fn take<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) -> bool {
    match counts.get_mut(key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

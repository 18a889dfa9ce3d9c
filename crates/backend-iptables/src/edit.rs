//! How the chains and lines of one service port change.

use std::collections::{HashMap, HashSet};

use portolan_core::ServicePortName;
use portolan_core::plan::ServicePort;

use crate::digest::{Contents, Digester};
use crate::names::{Chain, Table};
use crate::render::{Context, Sink, dispatch, lines_made_from, own_chains};
use crate::rule::Rule;
use crate::sketch::{Line, Sketch};

/// What is to be written and removed for one service port.
#[derive(Debug)]
pub(crate) struct Edit<'p> {
    pub(crate) name: &'p ServicePortName,
    /// As it was, if that is known and any of its lines are to go.
    old: Option<&'p ServicePort>,
    /// As it is to be.
    new: Option<&'p ServicePort>,
    /// Chains to be made or replaced.
    write: Vec<Chain>,
    /// Chains to be removed.
    gone: Vec<Chain>,
    /// Lines to be put into lists.
    insert: Vec<Line>,
    /// Lines to be taken out of them.
    delete: Vec<Line>,
    /// How many rules it has when that is done; without its lines in lists where these stay.
    rules: Rules,
    /// How many it had before, if that is known.
    old_rules: Rules,
}

/// Numbers of rules by table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rules {
    pub(crate) filter: usize,
    pub(crate) nat: usize,
}

impl Rules {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { filter: self.filter + other.filter, nat: self.nat + other.nat }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self { filter: self.filter.saturating_sub(other.filter), nat: self.nat.saturating_sub(other.nat) }
    }
}

impl<'p> Edit<'p> {
    /// What turns `old` into `new`.
    pub(crate) fn between(
        digester: &Digester,
        cx: &Context<'_>,
        name: &'p ServicePortName,
        old: Option<&'p ServicePort>,
        new: Option<&'p ServicePort>,
    ) -> Self {
        // A change of endpoints leaves the lines of all addresses alone, which need not be looked at then.
        let keeps_lines = old
            .zip(new)
            .is_some_and(|(old, new)| lines_made_from(cx, name, old) == lines_made_from(cx, name, new));
        let sketch_of = if keeps_lines { Sketch::chains } else { Sketch::of };
        let sketch = |port: Option<&ServicePort>| {
            port.map(|port| sketch_of(digester, cx, name, port)).unwrap_or_default()
        };
        let (before, after) = (sketch(old), sketch(new));
        let had: HashMap<_, _> = before.chains.iter().copied().collect();
        let has: HashSet<_> = after.chains.iter().map(|(chain, _)| chain).collect();
        let write = after.chains.iter().filter(|(chain, contents)| had.get(chain) != Some(contents));
        let gone = before.chains.iter().map(|(chain, _)| *chain).filter(|chain| !has.contains(chain));
        Self {
            name,
            old,
            new,
            write: write.map(|(chain, _)| *chain).collect(),
            gone: gone.collect(),
            insert: without(&after.lines, &before.lines),
            delete: without(&before.lines, &after.lines),
            rules: after.rules(),
            old_rules: before.rules(),
        }
    }

    /// What of `new` is not there: chains that hold something else than in `found`, from which they are
    /// taken, and lines that are counted in `missing`, in which they are then counted no more.
    pub(crate) fn to_make_up_for(
        digester: &Digester,
        cx: &Context<'_>,
        (name, new): (&'p ServicePortName, &'p ServicePort),
        found: &mut HashMap<Chain, Contents>,
        missing: &mut HashMap<Line, u32>,
    ) -> Self {
        let sketch = Sketch::of(digester, cx, name, new);
        let rules = sketch.rules();
        let Sketch { chains, lines } = sketch;
        let is_different = |(chain, wanted): &(Chain, Contents)| found.remove(chain).as_ref() != Some(wanted);
        let write = chains.into_iter().filter(is_different).map(|(chain, _)| chain).collect();
        let insert = lines.into_iter().filter(|line| take(missing, line)).collect();
        Self {
            name,
            old: None,
            new: Some(new),
            write,
            gone: Vec::new(),
            insert,
            delete: Vec::new(),
            rules,
            old_rules: Rules::default(),
        }
    }

    /// Puts its lines in nat, which are there, at the top of their lists.
    pub(crate) fn to_raise(
        digester: &Digester,
        cx: &Context<'_>,
        name: &'p ServicePortName,
        port: &'p ServicePort,
    ) -> Self {
        let mut lines = Sketch::lines(digester, cx, name, port);
        lines.retain(|line| line.table == Table::Nat);
        Self {
            name,
            old: Some(port),
            new: Some(port),
            write: Vec::new(),
            gone: Vec::new(),
            insert: lines.clone(),
            delete: lines,
            rules: Rules::default(),
            old_rules: Rules::default(),
        }
    }

    /// How many lines it puts into lists.
    pub(crate) fn insertion_count(&self) -> usize {
        self.insert.len()
    }

    /// How many rules it has after and before.
    pub(crate) fn rules_after_and_before(&self) -> (Rules, Rules) {
        (self.rules, self.old_rules)
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.chain_count() == 0 && self.insert.is_empty() && self.delete.is_empty()
    }

    /// How many chains it names.
    pub(crate) fn chain_count(&self) -> usize {
        self.write.len() + self.gone.len()
    }

    /// How many lines it takes out of lists.
    pub(crate) fn deletion_count(&self) -> usize {
        self.delete.len()
    }

    /// Whether it puts lines into this table's lists.
    pub(crate) fn inserts_into(&self, table: Table) -> bool {
        self.insert.iter().any(|line| line.table == table)
    }

    /// Whether it takes lines out of this table's lists.
    pub(crate) fn deletes_from(&self, table: Table) -> bool {
        self.delete.iter().any(|line| line.table == table)
    }

    /// Chains to be made or emptied: those that are written anew, and those that are removed.
    pub(crate) fn declared(&self) -> impl Iterator<Item = Chain> {
        self.write.iter().chain(&self.gone).copied()
    }

    /// Chains to be removed.
    pub(crate) fn gone(&self) -> impl Iterator<Item = Chain> {
        self.gone.iter().copied()
    }

    /// Tells the rules of chains that are written anew.
    pub(crate) fn rules(&self, cx: &Context<'_>, tell: &mut impl FnMut(Chain, &Rule<'_>)) {
        if let Some(port) = self.new.filter(|_| !self.write.is_empty()) {
            let chains = self.write.iter().copied().collect();
            own_chains(cx, self.name, port, &mut OfChains { chains, tell });
        }
    }

    /// Tells the lines to be put into this table's lists, the last first: each goes to the top, and a line
    /// that counts packets must come to stand above the one that takes them. Each comes in the words after its
    /// chain's name, as a rule lives only as long as it is rendered.
    pub(crate) fn inserted(
        &self,
        (digester, cx): (&Digester, &Context<'_>),
        table: Table,
        mut tell: impl FnMut(Chain, &str),
    ) {
        let Some(port) = self.new.filter(|_| self.inserts_into(table)) else { return };
        let mut told = Vec::with_capacity(self.insert.len());
        let mut keep = |chain: Chain, rule: &Rule<'_>| told.push((chain, rule.to_string()));
        let lines = counted(&self.insert);
        dispatch(cx, self.name, port, &mut OfLines { digester, table, lines, tell: &mut keep });
        for (chain, rule) in told.iter().rev() {
            tell(*chain, rule);
        }
    }

    /// Tells the lines to be taken out of this table's lists.
    pub(crate) fn deleted(
        &self,
        (digester, cx): (&Digester, &Context<'_>),
        table: Table,
        tell: &mut impl FnMut(Chain, &Rule<'_>),
    ) {
        if let Some(port) = self.old.filter(|_| self.deletes_from(table)) {
            let lines = counted(&self.delete);
            dispatch(cx, self.name, port, &mut OfLines { digester, table, lines, tell });
        }
    }
}

/// Those of `lines` that `others` lack. A line that is there twice is two.
fn without(lines: &[Line], others: &[Line]) -> Vec<Line> {
    let mut others = counted(others);
    lines.iter().filter(|line| !take(&mut others, line)).copied().collect()
}

/// How often each line is there.
fn counted(lines: &[Line]) -> HashMap<Line, u32> {
    let mut counts = HashMap::with_capacity(lines.len());
    for line in lines {
        *counts.entry(*line).or_default() += 1;
    }
    counts
}

/// Takes a line out, if it is there.
fn take(lines: &mut HashMap<Line, u32>, line: &Line) -> bool {
    match lines.get_mut(line) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

/// Passes on the rules of some chains.
struct OfChains<'a, F> {
    chains: HashSet<Chain>,
    tell: &'a mut F,
}

impl<F: FnMut(Chain, &Rule<'_>)> Sink for OfChains<'_, F> {
    fn chain(&mut self, _: Table, _: Chain) {}

    fn rule(&mut self, _: Table, chain: Chain, rule: &Rule<'_>) {
        if self.chains.contains(&chain) {
            (self.tell)(chain, rule);
        }
    }
}

/// Passes on some lines of one table, each once.
struct OfLines<'a, F> {
    digester: &'a Digester,
    table: Table,
    lines: HashMap<Line, u32>,
    tell: &'a mut F,
}

impl<F: FnMut(Chain, &Rule<'_>)> Sink for OfLines<'_, F> {
    fn chain(&mut self, _: Table, _: Chain) {}

    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>) {
        let Chain::Fixed(list) = chain else { return };
        let line = Line { table, list, digest: self.digester.rule(chain, rule) };
        if table == self.table && take(&mut self.lines, &line) {
            (self.tell)(chain, rule);
        }
    }
}

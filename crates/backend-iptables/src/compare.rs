//! Compares what `iptables-save` prints with what a plan takes.
//!
//! The lines are read as they come and nothing of them is kept but numbers, and the text of rules that have
//! to go. Chains of service ports are only counted up here; whoever walks the plan takes from
//! [`Differences::own`] what is right, and what is left then belongs to nobody.

use std::collections::{HashMap, HashSet};

use portolan_core::NodePlan;

use crate::compare::jumps::Jumps;
use crate::digest::{Contents, Digester};
use crate::edit::Rules;
use crate::names::{BuiltIn, Chain, Fixed, Table};
use crate::render::{Context, LISTS, Sink, fixed_chains, last_rules};
use crate::rule::{Rule, parse, words};
use crate::saved::{Saved, read};
use crate::sketch::{Line, Sketch};

mod jumps;

/// How many lines are taken out of a list one by one at most; if there are more, the list is written anew.
///
/// The programs look for each through the whole list: a thousand of ten thousand take iptables-nft as long
/// as writing all of them again.
pub(crate) const MOST_DELETIONS: usize = 500;

/// The list that ends with rules of its own.
pub(crate) const ENDED: (Table, Fixed) = (Table::Nat, Fixed::Services);

/// A comparison that is going on.
#[derive(Debug)]
pub(crate) struct Comparison<'d> {
    digester: &'d Digester,
    table: Option<Table>,
    words: Vec<String>,
    /// What the chains without service ports should hold.
    fixed: HashMap<(Table, Fixed), Contents>,
    /// What they do hold.
    found_fixed: HashMap<(Table, Fixed), Contents>,
    /// The rules of `KUBE-FIREWALL` that should be there, beside any others.
    firewall: HashSet<u64>,
    /// The rules that should end [`ENDED`].
    last: Vec<u64>,
    /// How many rules each list holds.
    lengths: HashMap<(Table, Fixed), usize>,
    missing: HashMap<Line, u32>,
    strays: Vec<Stray>,
    jumps: Jumps,
    own: HashMap<Chain, Contents>,
}

/// A line that no service port has.
#[derive(Debug)]
struct Stray {
    line: Line,
    /// Counted from zero in its list.
    place: usize,
    text: String,
}

/// A line that is to go, as it was printed.
#[derive(Debug, Clone)]
pub(crate) struct StaleLine {
    pub(crate) table: Table,
    pub(crate) list: Fixed,
    /// The words after the chain's name.
    pub(crate) text: String,
}

/// How tables differ from what a plan takes.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// What is wrong besides service ports.
    pub(crate) base: BaseChanges,
    /// Lines of service ports that are not there, and how often.
    pub(crate) missing: HashMap<Line, u32>,
    /// Chains of service ports that are there.
    pub(crate) own: HashMap<Chain, Contents>,
    /// Lines to be taken out of lists.
    pub(crate) stale: Vec<StaleLine>,
    /// Lists to be written anew as a whole.
    pub(crate) rewritten: Vec<(Table, Fixed)>,
    /// How many rules there are to be besides those of service ports.
    pub(crate) rules: Rules,
}

/// What is to be written besides service ports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BaseChanges {
    /// Lists and canaries to be made, and chains to be made or replaced.
    pub(crate) chains: HashSet<(Table, Fixed)>,
    /// Chains to which rules are added, and nothing else happens.
    pub(crate) completed: HashSet<(Table, Fixed)>,
    /// Whether the rules that end [`ENDED`] are put there.
    pub(crate) ends: bool,
    /// Jumps to be deleted first: the words after the chain's name, as printed.
    pub(crate) old_jumps: Vec<(Table, BuiltIn, String)>,
    /// Jumps to be inserted at the top, by their tables and their places among all.
    pub(crate) jumps: Vec<(Table, usize)>,
}

impl<'d> Comparison<'d> {
    /// Nothing has been read yet.
    pub(crate) fn new(digester: &'d Digester, cx: &Context<'_>, plan: &NodePlan) -> Self {
        let mut base = Base { digester, fixed: HashMap::new(), firewall: HashSet::new(), last: Vec::new() };
        fixed_chains(cx, &mut base);
        last_rules(cx, &mut base);
        let mut missing = HashMap::new();
        for (name, port) in &plan.service_ports {
            for line in Sketch::lines(digester, cx, name, port) {
                *missing.entry(line).or_default() += 1;
            }
        }
        let Base { fixed, firewall, last, .. } = base;
        Self {
            digester,
            table: None,
            words: Vec::new(),
            fixed,
            found_fixed: HashMap::new(),
            firewall,
            last,
            lengths: HashMap::new(),
            missing,
            strays: Vec::new(),
            jumps: Jumps::new(digester, cx),
            own: HashMap::new(),
        }
    }

    /// Takes in one line.
    pub(crate) fn read(&mut self, line: &str) {
        match (read(line), self.table) {
            (Saved::Table(table), _) => self.table = table,
            (Saved::Chain(name), Some(table)) => self.chain(table, Chain::parse(name)),
            (Saved::Rule { chain, rule }, Some(table)) => {
                if let Some(chain) = Chain::parse(chain) {
                    self.rule(table, chain, rule);
                }
            }
            _ => {}
        }
    }

    fn chain(&mut self, table: Table, chain: Option<Chain>) {
        match chain {
            Some(Chain::Fixed(fixed)) if LISTS.contains(&(table, fixed)) => {
                self.lengths.entry((table, fixed)).or_default();
            }
            Some(Chain::Fixed(fixed)) => {
                self.found_fixed.entry((table, fixed)).or_default();
            }
            Some(chain @ Chain::Own(..)) if table == Table::Nat => {
                self.own.entry(chain).or_default();
            }
            _ => {}
        }
    }

    fn rule(&mut self, table: Table, chain: Chain, text: &str) {
        let rule = words(text, &mut self.words).and_then(parse);
        let digest =
            rule.map_or_else(|| self.digester.unknown(text), |rule| self.digester.rule(chain, &rule));
        match chain {
            Chain::BuiltIn(from) => self.jumps.found(table, from, digest, text),
            Chain::Own(..) if table == Table::Nat => {
                self.digester.append(self.own.entry(chain).or_default(), digest);
            }
            Chain::Own(..) => {}
            Chain::Fixed(list) if LISTS.contains(&(table, list)) => {
                self.line(Line { table, list, digest }, text);
            }
            Chain::Fixed(fixed) => {
                if fixed == Fixed::Firewall {
                    self.firewall.remove(&digest);
                }
                self.digester.append(self.found_fixed.entry((table, fixed)).or_default(), digest);
            }
        }
    }

    fn line(&mut self, line: Line, text: &str) {
        let length = self.lengths.entry((line.table, line.list)).or_default();
        let place = *length;
        *length += 1;
        match self.missing.get_mut(&line) {
            Some(count) if *count > 0 => *count -= 1,
            _ => self.strays.push(Stray { line, place, text: text.to_owned() }),
        }
    }

    /// All lines have been read.
    pub(crate) fn finish(mut self) -> Differences {
        let mut base = BaseChanges { ends: !self.take_end(), ..self.jumps.changes() };
        for (chain, wanted) in &self.fixed {
            let found = self.found_fixed.get(chain);
            match chain.1 {
                // It is the kubelet's as well, and what that has in it stays.
                Fixed::Firewall if found.is_some() && self.firewall.is_empty() => {}
                Fixed::Firewall if found.is_some() => {
                    base.completed.insert(*chain);
                }
                _ if found == Some(wanted) => {}
                _ => {
                    base.chains.insert(*chain);
                }
            }
        }
        base.chains.extend(LISTS.into_iter().filter(|list| !self.lengths.contains_key(list)));
        let rewritten = self.take_lists_to_rewrite();
        let stale = self.strays.into_iter().map(|stray| {
            let Line { table, list, .. } = stray.line;
            StaleLine { table, list, text: stray.text }
        });
        let mut rules = Rules { nat: self.last.len(), ..Rules::default() };
        for ((table, _), contents) in &self.fixed {
            match table {
                Table::Mangle => {}
                Table::Filter => rules.filter += contents.rules as usize,
                Table::Nat => rules.nat += contents.rules as usize,
            }
        }
        let stale = stale.collect();
        Differences { base, missing: self.missing, own: self.own, stale, rewritten, rules }
    }

    /// Takes the rules that end a list from the strays, if they are there, in order and last.
    fn take_end(&mut self) -> bool {
        let length = self.lengths.get(&ENDED).copied().unwrap_or_default();
        let Some(first) = length.checked_sub(self.last.len()) else { return false };
        let is_in = |stray: &Stray| (stray.line.table, stray.line.list) == ENDED && stray.place >= first;
        let found: Vec<_> = self.strays.iter().filter(|stray| is_in(stray)).collect();
        if !found.iter().map(|stray| stray.line.digest).eq(self.last.iter().copied()) {
            return false;
        }
        self.strays.retain(|stray| !is_in(stray));
        true
    }

    fn take_lists_to_rewrite(&mut self) -> Vec<(Table, Fixed)> {
        let of = |line: &Line, list: (Table, Fixed)| (line.table, line.list) == list;
        let strays = |list| self.strays.iter().filter(|stray| of(&stray.line, list)).count();
        let rewritten: Vec<_> = LISTS.into_iter().filter(|list| strays(*list) > MOST_DELETIONS).collect();
        for list in &rewritten {
            self.strays.retain(|stray| !of(&stray.line, *list));
            self.missing.retain(|line, _| !of(line, *list));
        }
        rewritten
    }
}

/// What is wanted besides service ports.
struct Base<'d> {
    digester: &'d Digester,
    fixed: HashMap<(Table, Fixed), Contents>,
    firewall: HashSet<u64>,
    last: Vec<u64>,
}

impl Sink for Base<'_> {
    fn chain(&mut self, table: Table, chain: Chain) {
        if let Chain::Fixed(chain) = chain {
            self.fixed.entry((table, chain)).or_default();
        }
    }

    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>) {
        let digest = self.digester.rule(chain, rule);
        let Chain::Fixed(chain) = chain else { return };
        if (table, chain) == ENDED {
            return self.last.push(digest);
        }
        if chain == Fixed::Firewall {
            self.firewall.insert(digest);
        }
        self.digester.append(self.fixed.entry((table, chain)).or_default(), digest);
    }
}

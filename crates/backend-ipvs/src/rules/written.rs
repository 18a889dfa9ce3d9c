//! Our rules as the program prints them.
//!
//! Rules are rendered as current programs print them, so those of an earlier run are recognized. If a program prints them
//! differently, they are written once more at each start. After that its output is compared with its later output.

use std::collections::BTreeMap;

use portolan_iptables::names::BuiltIn;
use portolan_iptables::saved::{self, Saved};

use super::{Jump, Table};

/// Our chains with their rules, by table and name.
type Chains = BTreeMap<(&'static str, &'static str), Vec<String>>;

/// Our chains that exist, and the rules of other chains that jump to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Written {
    chains: Chains,
    /// By table: those of built-in chains, as printed after `-A`.
    jumps: Vec<(&'static str, String)>,
    /// Those of chains of other programs.
    calls: Vec<(&'static str, String)>,
}

impl Written {
    /// Whether a jump into one of our chains exists.
    pub(crate) fn has(&self, table: &str, jump: &Jump) -> bool {
        let line = jump_line(jump);
        self.jumps.iter().any(|(of, found)| *of == table && *found == line)
    }

    /// The jumps from built-in chains into our chains that are not ours: another mode's, an earlier version's, or
    /// duplicates of ours.
    pub(crate) fn other_jumps<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a str> {
        let mut ours: Vec<_> = table.jumps.iter().map(jump_line).collect();
        let is_entered =
            |line: &str| table.jumps.iter().any(|jump| line.ends_with(&format!(" -j {}", jump.to)));
        let context = self.jumps.iter().filter(|(of, _)| *of == table.name).map(|(_, line)| line.as_str());
        context.filter(move |line| is_entered(line)).filter(move |line| {
            let place = ours.iter().position(|our| our == line);
            place.map(|place| ours.swap_remove(place)).is_none()
        })
    }

    /// Whether the chains of these tables equal ours, with all our jumps and no others from built-in chains.
    pub(crate) fn is(&self, tables: &[Table]) -> bool {
        let is_chain = |table: &Table, (chain, rules): &(&'static str, Vec<String>)| {
            self.chains.get(&(table.name, *chain)) == Some(rules)
        };
        tables.iter().all(|table| {
            table.chains.iter().all(|chain| is_chain(table, chain))
                && table.jumps.iter().all(|jump| self.has(table.name, jump))
                && self.other_jumps(table).next().is_none()
        })
    }

    /// Whether the chain of Services in nat has rules.
    pub(crate) fn translates(&self) -> bool {
        self.chains.get(&("nat", "KUBE-SERVICES")).is_some_and(|rules| !rules.is_empty())
    }
}

fn jump_line(jump: &Jump) -> String {
    format!("{} {}", jump.from, jump.rule())
}

/// Reads lines of `iptables-save` and keeps those about the chains of these tables.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    tables: &'a [Table],
    current: Option<&'a Table>,
    written: Written,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(tables: &'a [Table]) -> Self {
        Self { tables, current: None, written: Written::default() }
    }

    pub(crate) fn line(&mut self, line: &str) {
        let line = saved::read(line);
        if let Saved::Table(found) = line {
            self.current =
                self.tables.iter().find(|table| found.is_some_and(|found| found.as_str() == table.name));
        }
        let Some(Table { name: table, chains, .. }) = self.current else { return };
        let ours = |name: &str| chains.iter().map(|(chain, _)| *chain).find(|chain| *chain == name);
        match line {
            Saved::Chain(name) => {
                if let Some(chain) = ours(name) {
                    self.written.chains.entry((*table, chain)).or_default();
                }
            }
            Saved::Rule { chain: name, rule } => {
                if let Some(chain) = ours(name) {
                    self.written.chains.entry((*table, chain)).or_default().push(rule.to_owned());
                } else if saved::target(rule).and_then(ours).is_some() {
                    let is_jump = BuiltIn::parse(name).is_some();
                    let list = if is_jump { &mut self.written.jumps } else { &mut self.written.calls };
                    list.push((*table, format!("{name} {rule}")));
                }
            }
            Saved::Table(_) | Saved::Other => {}
        }
    }

    pub(crate) fn finish(self) -> Written {
        self.written
    }
}

//! What there is of our rules, as the program prints them.
//!
//! Rules are rendered as current programs print them, so those of an earlier run are recognized. With a program that
//! prints them in another way they are written once more at each start, and no more: what it printed after that is
//! compared with what it prints later.

use std::collections::BTreeMap;

use portolan_iptables::names::BuiltIn;
use portolan_iptables::saved::{self, Saved};

use super::{CHAINS, Jump, Table};

/// Our chains with their rules, by table and name.
type Chains = BTreeMap<(&'static str, &'static str), Vec<String>>;

/// What there is of our chains, and the rules elsewhere that lead to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Written {
    chains: Chains,
    /// By table: the kernel's chains' rules, as they are printed behind `-A`.
    jumps: Vec<(&'static str, String)>,
    /// Those of others' chains.
    calls: Vec<(&'static str, String)>,
}

impl Written {
    /// Whether the way into one of our chains is there.
    pub(crate) fn has(&self, table: &str, jump: &Jump) -> bool {
        let line = jump_line(jump);
        self.jumps.iter().any(|(of, found)| *of == table && *found == line)
    }

    /// The rules in the kernel's chains that lead into our chains and are not ours: another mode's, an earlier
    /// version's, or one of ours once too often.
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

    /// Whether these tables are there just so, and nothing besides leads into them from the kernel's chains.
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

    /// Whether there is something that packets for Services meet before they are routed.
    pub(crate) fn translates(&self) -> bool {
        self.chains.get(&("nat", "KUBE-SERVICES")).is_some_and(|rules| !rules.is_empty())
    }
}

fn jump_line(jump: &Jump) -> String {
    format!("{} {}", jump.from, jump.rule())
}

/// Reads lines of `iptables-save` and keeps those about our chains.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    current: Option<(&'static str, &'static [&'static str])>,
    written: Written,
}

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        let line = saved::read(line);
        if let Saved::Table(table) = line {
            self.current =
                CHAINS.into_iter().find(|(name, _)| table.is_some_and(|table| table.as_str() == *name));
        }
        let Some((table, chains)) = self.current else { return };
        let ours = |name: &str| chains.iter().find(|chain| **chain == name);
        match line {
            Saved::Chain(name) => {
                if let Some(chain) = ours(name) {
                    self.written.chains.entry((table, chain)).or_default();
                }
            }
            Saved::Rule { chain: name, rule } => {
                if let Some(chain) = ours(name) {
                    self.written.chains.entry((table, chain)).or_default().push(rule.to_owned());
                } else if saved::target(rule).and_then(ours).is_some() {
                    let is_jump = BuiltIn::parse(name).is_some();
                    let list = if is_jump { &mut self.written.jumps } else { &mut self.written.calls };
                    list.push((table, format!("{name} {rule}")));
                }
            }
            Saved::Table(_) | Saved::Other => {}
        }
    }

    pub(crate) fn finish(self) -> Written {
        self.written
    }
}

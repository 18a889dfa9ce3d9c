//! What there is of our rules, as the program prints them.
//!
//! Ours are spelled as the program of today spells them, so what an earlier run wrote is recognized. One that
//! spells them in another way finds its rules different and writes them once more at each start, no more: what it
//! printed after we wrote is what it must print again for nobody to have changed anything.

use std::collections::BTreeMap;

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
        let here = self.jumps.iter().filter(|(of, _)| *of == table.name).map(|(_, line)| line.as_str());
        here.filter(move |line| is_entered(line)).filter(move |line| {
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

/// Takes lines in and keeps those about our chains.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    current: Option<(&'static str, &'static [&'static str])>,
    /// The kernel's chains of the present table, which alone have a policy.
    built_in: Vec<String>,
    written: Written,
}

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix('*') {
            self.current = CHAINS.into_iter().find(|(table, _)| *table == name);
            self.built_in.clear();
            return;
        }
        let Some((table, chains)) = self.current else { return };
        let ours = |name: &str| chains.iter().find(|chain| **chain == name);
        if let Some(declared) = line.strip_prefix(':') {
            let (name, policy) = declared.split_once(' ').unwrap_or((declared, "-"));
            if let Some(chain) = ours(name) {
                self.written.chains.entry((table, chain)).or_default();
            } else if !policy.starts_with('-') {
                self.built_in.push(name.to_owned());
            }
        } else if let Some((name, rule)) = line.strip_prefix("-A ").and_then(|line| line.split_once(' ')) {
            if let Some(chain) = ours(name) {
                self.written.chains.entry((table, chain)).or_default().push(rule.to_owned());
            } else if rule.rsplit(' ').next().and_then(ours).is_some() {
                let is_jump = self.built_in.iter().any(|chain| chain == name);
                let list = if is_jump { &mut self.written.jumps } else { &mut self.written.calls };
                list.push((table, format!("{name} {rule}")));
            }
        }
    }

    pub(crate) fn finish(self) -> Written {
        self.written
    }
}

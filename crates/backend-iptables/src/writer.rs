//! Writes units and what stands beside them as input, and remembers which lines are whose.

use std::collections::BTreeSet;
use std::io::{self, Write};

use portolan_core::{NodePlan, ServicePortName};

use crate::compare::{BaseChanges, ENDED};
use crate::digest::Digester;
use crate::names::{Chain, Fixed, Table};
use crate::render::{Context, LISTS, Sink, dispatch, fixed_chains, jumps, last_rules};
use crate::restore::Input;
use crate::rule::Rule;
use crate::unit::{Phase, Unit};

/// What input is made from, besides units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) digester: &'a Digester,
    pub(crate) cx: &'a Context<'a>,
    pub(crate) plan: &'a NodePlan,
}

/// Which unit a line belongs to.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// Where the lines of a unit begin, in ascending order; nothing where they are nobody's.
    starts: Vec<(u64, Option<usize>)>,
}

impl Origins {
    /// What is written next belongs to this unit.
    fn next<W: Write>(&mut self, input: &Input<W>, unit: Option<usize>) {
        self.starts.push((input.lines() + 1, unit));
    }

    /// Whose line this is, counted from one.
    pub(crate) fn unit_at(&self, line: u64) -> Option<usize> {
        let after = self.starts.partition_point(|(start, _)| *start <= line);
        self.starts.get(after.checked_sub(1)?)?.1
    }
}

impl Writer<'_> {
    /// One phase of some units. Lists are written without the service ports of `refused`.
    pub(crate) fn units<W: Write>(
        &self,
        phase: Phase,
        units: &[Unit<'_>],
        refused: &BTreeSet<ServicePortName>,
        input: &mut Input<W>,
    ) -> Origins {
        let mut origins = Origins::default();
        origins.next(input, None);
        input.table(phase.table());
        for step in Step::ALL {
            for (place, unit) in units.iter().enumerate() {
                origins.next(input, Some(place));
                self.step(phase, step, unit, refused, input);
            }
        }
        origins.next(input, None);
        input.commit();
        origins
    }

    fn step<W: Write>(
        &self,
        phase: Phase,
        step: Step,
        unit: &Unit<'_>,
        refused: &BTreeSet<ServicePortName>,
        input: &mut Input<W>,
    ) {
        let (table, by) = (phase.table(), (self.digester, self.cx));
        match (step, phase, unit) {
            (Step::Declare, Phase::Translate, Unit::Port(edit)) => {
                edit.declared().for_each(|chain| input.declare(chain));
            }
            (Step::Declare, Phase::Translate, Unit::Chain(chain)) => input.declare(*chain),
            (Step::Fill, Phase::Translate, Unit::Port(edit)) => {
                edit.rules(self.cx, &mut |chain, rule| input.append(chain, rule));
            }
            (Step::Lead, Phase::Refuse | Phase::Translate, Unit::Port(edit)) => {
                edit.inserted(by, table, |chain, rule| input.insert(chain, rule));
            }
            (Step::Lead, Phase::Refuse | Phase::Translate, Unit::List(of, list)) if *of == table => {
                self.list((*of, *list), refused, input);
            }
            (Step::Unlead, Phase::Translate | Phase::Relent, Unit::Port(edit)) => {
                edit.deleted(by, table, &mut |chain, rule| input.delete(chain, rule));
            }
            (Step::Unlead, Phase::Translate | Phase::Relent, Unit::Line(line)) if line.table == table => {
                input.delete_printed(Chain::Fixed(line.list), &line.text);
            }
            (Step::Remove, Phase::Translate, Unit::Port(edit)) => {
                edit.gone().for_each(|chain| input.remove(chain));
            }
            (Step::Remove, Phase::Translate, Unit::Chain(chain)) => input.remove(*chain),
            _ => {}
        }
    }

    /// A list with the lines of all service ports.
    fn list<W: Write>(
        &self,
        list: (Table, Fixed),
        refused: &BTreeSet<ServicePortName>,
        input: &mut Input<W>,
    ) {
        input.declare(Chain::Fixed(list.1));
        let mut sink = OfList { list, input };
        let wanted = self.plan.service_ports.iter().filter(|(name, _)| !refused.contains(name));
        for (name, port) in wanted {
            dispatch(self.cx, name, port, &mut sink);
        }
        last_rules(self.cx, &mut sink);
    }

    /// All that is to be changed in one table besides service ports.
    pub(crate) fn base<W: Write>(&self, changes: &BaseChanges, table: Table, input: &mut Input<W>) {
        input.table(table);
        self.base_rules(&mut |of, chain, rule| match rule {
            None if of == table && changes.chains.contains(&(of, chain)) => {
                input.declare(Chain::Fixed(chain));
            }
            _ => {}
        });
        self.base_rules(&mut |of, chain, rule| match rule {
            Some(rule) if of == table && changes.wants_rules_of((of, chain)) => {
                input.append(Chain::Fixed(chain), rule);
            }
            _ => {}
        });
        for (_, from, text) in changes.old_jumps.iter().filter(|(of, ..)| *of == table) {
            input.delete_printed(Chain::BuiltIn(*from), text);
        }
        for (place, (of, from, rule)) in jumps(self.cx).enumerate() {
            if of == table && changes.jumps.contains(&(table, place)) {
                input.insert(Chain::BuiltIn(from), rule);
            }
        }
        input.commit();
    }

    /// Tells the lists, the chains without service ports, and all their rules.
    fn base_rules(&self, tell: &mut impl FnMut(Table, Fixed, Option<&Rule<'_>>)) {
        let mut sink = Telling(tell);
        for (table, list) in LISTS {
            sink.chain(table, Chain::Fixed(list));
        }
        fixed_chains(self.cx, &mut sink);
        last_rules(self.cx, &mut sink);
    }
}

impl BaseChanges {
    /// Whether anything is wrong in this table.
    pub(crate) fn concern(&self, table: Table) -> bool {
        (self.ends && table == ENDED.0)
            || self.chains.iter().chain(&self.completed).any(|(of, _)| *of == table)
            || self.old_jumps.iter().any(|(of, ..)| *of == table)
            || self.jumps.iter().any(|(of, _)| *of == table)
    }

    fn wants_rules_of(&self, chain: (Table, Fixed)) -> bool {
        if chain == ENDED {
            self.ends
        } else {
            self.chains.contains(&chain) || self.completed.contains(&chain)
        }
    }
}

/// The order in which things are done within a table: what is led to is there before, and goes after.
///
/// All of them become true at once. So lines may go before their successors come, and a line that goes and
/// comes is at the top then.
#[derive(Debug, Clone, Copy)]
enum Step {
    Declare,
    Fill,
    Unlead,
    Lead,
    Remove,
}

impl Step {
    const ALL: [Self; 5] = [Self::Declare, Self::Fill, Self::Unlead, Self::Lead, Self::Remove];
}

/// Appends the rules of one list.
struct OfList<'i, W> {
    list: (Table, Fixed),
    input: &'i mut Input<W>,
}

impl<W: Write> Sink for OfList<'_, W> {
    fn chain(&mut self, _: Table, _: Chain) {}

    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>) {
        if (table, chain) == (self.list.0, Chain::Fixed(self.list.1)) {
            self.input.append(chain, rule);
        }
    }
}

/// Tells chains without rules, and rules.
struct Telling<'t, F>(&'t mut F);

impl<F: FnMut(Table, Fixed, Option<&Rule<'_>>)> Sink for Telling<'_, F> {
    fn chain(&mut self, table: Table, chain: Chain) {
        if let Chain::Fixed(chain) = chain {
            (self.0)(table, chain, None);
        }
    }

    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>) {
        if let Chain::Fixed(chain) = chain {
            (self.0)(table, chain, Some(rule));
        }
    }
}

/// Keeps one line of what is written to it.
#[derive(Debug)]
pub(crate) struct OneLine {
    wanted: u64,
    /// The line that is being written, counted from one.
    at: u64,
    kept: Vec<u8>,
}

impl OneLine {
    pub(crate) fn new(wanted: u64) -> Self {
        Self { wanted, at: 1, kept: Vec::new() }
    }

    /// The line, if it was reached.
    pub(crate) fn text(self) -> Option<String> {
        (!self.kept.is_empty()).then(|| String::from_utf8_lossy(&self.kept).into_owned())
    }
}

impl Write for OneLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if *byte == b'\n' {
                self.at += 1;
            } else if self.at == self.wanted {
                self.kept.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Pieces of a change that can be made or left out one by one.

use portolan_core::ServicePortName;

use crate::compare::StaleLine;
use crate::edit::Edit;
use crate::names::{Chain, Fixed, Kind, Table};

/// A piece of a change. One that is turned down does not keep the others from being made.
#[derive(Debug)]
pub(crate) enum Unit<'p> {
    /// A service port.
    Port(Edit<'p>),
    /// A list written anew, with the lines of all service ports.
    List(Table, Fixed),
    /// A line that no service port has.
    Line(StaleLine),
    /// A chain that no service port has.
    Chain(Chain),
}

/// The steps in which a change is made, each one input with one section.
///
/// A packet that finds its address in nat is not concerned by refusals, which filter has for addresses
/// nobody translates. So who refuses comes before and goes after: at no time is there neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// What is new in filter.
    Refuse,
    /// All of nat.
    Translate,
    /// What goes from filter.
    Relent,
}

impl Phase {
    /// In their order.
    pub(crate) const ALL: [Self; 3] = [Self::Refuse, Self::Translate, Self::Relent];

    /// The table that is written.
    pub(crate) fn table(self) -> Table {
        match self {
            Self::Refuse | Self::Relent => Table::Filter,
            Self::Translate => Table::Nat,
        }
    }
}

impl Unit<'_> {
    /// Whether there is anything to write in this phase.
    pub(crate) fn concerns(&self, phase: Phase) -> bool {
        match (self, phase) {
            (Self::Port(edit), Phase::Refuse) => edit.inserts_into(Table::Filter),
            (Self::Port(edit), Phase::Relent) => edit.deletes_from(Table::Filter),
            (Self::Port(edit), Phase::Translate) => {
                edit.chain_count() > 0 || edit.inserts_into(Table::Nat) || edit.deletes_from(Table::Nat)
            }
            (Self::List(table, _), Phase::Refuse | Phase::Translate) => *table == phase.table(),
            (Self::Line(line), Phase::Translate | Phase::Relent) => line.table == phase.table(),
            (Self::Chain(_), Phase::Translate) => true,
            _ => false,
        }
    }

    /// How many chains it names.
    fn chain_count(&self) -> usize {
        match self {
            Self::Port(edit) => edit.chain_count(),
            Self::Chain(_) => 1,
            Self::List(..) | Self::Line(_) => 0,
        }
    }

    /// The service port that it is about.
    pub(crate) fn port(&self) -> Option<&ServicePortName> {
        match self {
            Self::Port(edit) => Some(edit.name),
            _ => None,
        }
    }

    /// What is tried, for an error that says `the kernel refused to …`.
    pub(crate) fn action(&self) -> String {
        match self {
            Self::Port(edit) => format!("serve {:?}", edit.name),
            Self::List(table, list) => format!("write {} of table {table}", list.as_str()),
            Self::Line(line) => format!("delete a rule of {} of table {}", line.list.as_str(), line.table),
            Self::Chain(chain) => format!("delete chain {chain}"),
        }
    }
}

/// Where in an order of removal a chain stands: those that lead to others come before them.
pub(crate) fn removal_rank(chain: Chain) -> u8 {
    match chain {
        Chain::Own(Kind::Firewall, _) => 0,
        Chain::Own(Kind::External, _) => 1,
        Chain::Own(Kind::Cluster | Kind::Local, _) => 2,
        Chain::Own(Kind::Endpoint, _) => 3,
        Chain::BuiltIn(_) | Chain::Fixed(_) => 4,
    }
}

/// Groups units, so that none names more chains than `limit`, unless a single one does.
#[derive(Debug)]
pub(crate) struct Groups<'p> {
    limit: usize,
    chains: usize,
    group: Vec<Unit<'p>>,
}

impl<'p> Groups<'p> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, chains: 0, group: Vec::new() }
    }

    /// Adds a unit; returns the group before it when that is full.
    pub(crate) fn add(&mut self, unit: Unit<'p>) -> Option<Vec<Unit<'p>>> {
        let count = unit.chain_count();
        let is_full = !self.group.is_empty() && self.chains.saturating_add(count) > self.limit;
        let full = is_full.then(|| self.take());
        self.chains += count;
        self.group.push(unit);
        full
    }

    /// What has not been returned yet.
    pub(crate) fn take(&mut self) -> Vec<Unit<'p>> {
        self.chains = 0;
        std::mem::take(&mut self.group)
    }
}

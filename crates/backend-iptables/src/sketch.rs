//! What one service port takes in the tables, as numbers.
//!
//! Enough to tell what of it has changed, and small enough to be made anew for each question: the rules
//! themselves are rendered when they are written.

use portolan_core::ServicePortName;
use portolan_core::plan::ServicePort;

use crate::digest::{Contents, Digester};
use crate::edit::Rules;
use crate::names::{Chain, Fixed, Table};
use crate::render::{Context, Sink, dispatch, own_chains};
use crate::rule::Rule;

/// A rule of some service port in a list that all share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub(crate) table: Table,
    pub(crate) list: Fixed,
    pub(crate) digest: u64,
}

/// The chains and lines of one service port.
#[derive(Debug, Default)]
pub(crate) struct Sketch {
    /// Its own chains, in the order in which they are told.
    pub(crate) chains: Vec<(Chain, Contents)>,
    /// Its lines in the lists.
    pub(crate) lines: Vec<Line>,
}

impl Sketch {
    pub(crate) fn of(
        digester: &Digester,
        cx: &Context<'_>,
        name: &ServicePortName,
        port: &ServicePort,
    ) -> Self {
        let lines = Self::lines(digester, cx, name, port);
        Self { lines, ..Self::chains(digester, cx, name, port) }
    }

    /// Its chains alone.
    pub(crate) fn chains(
        digester: &Digester,
        cx: &Context<'_>,
        name: &ServicePortName,
        port: &ServicePort,
    ) -> Self {
        let mut sketching = Sketching { digester, sketch: Self::default() };
        own_chains(cx, name, port, &mut sketching);
        sketching.sketch
    }

    /// How many rules it has.
    pub(crate) fn rules(&self) -> Rules {
        let filter = self.lines.iter().filter(|line| line.table == Table::Filter).count();
        let of_chains: usize = self.chains.iter().map(|(_, contents)| contents.rules as usize).sum();
        Rules { filter, nat: self.lines.len() - filter + of_chains }
    }

    /// Its lines alone.
    pub(crate) fn lines(
        digester: &Digester,
        cx: &Context<'_>,
        name: &ServicePortName,
        port: &ServicePort,
    ) -> Vec<Line> {
        let mut sketching = Sketching { digester, sketch: Self::default() };
        dispatch(cx, name, port, &mut sketching);
        sketching.sketch.lines
    }
}

struct Sketching<'d> {
    digester: &'d Digester,
    sketch: Sketch,
}

impl Sink for Sketching<'_> {
    fn chain(&mut self, _: Table, chain: Chain) {
        self.sketch.chains.push((chain, Contents::default()));
    }

    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>) {
        let digest = self.digester.rule(chain, rule);
        match chain {
            Chain::Fixed(list) => self.sketch.lines.push(Line { table, list, digest }),
            _ => {
                if let Some((_, contents)) = self.sketch.chains.last_mut() {
                    self.digester.append(contents, digest);
                }
            }
        }
    }
}

//! Takes packets through chains and rules.
//!
//! A chain takes all possibilities at once, rule by rule, so that equal ones can be merged after
//! each rule. Jumps recurse; that ends because tables in memory refuse chains that lead back to
//! themselves, as the kernel does.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use portolan_nft::{Family, Rule, Statement, Verdict};

use super::flow::Flow;
use super::hook::ScenarioNetwork;
use super::path::Trail;
use super::statement::Place;
use super::weighted::{Way, Weighted};
use super::{Host, Learned, Packet, Refusal, TraceError, Work};

/// What statements work with besides the packet's changing part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'t> {
    pub(super) host: &'t Host,
    pub(super) packet: &'t Packet,
    /// Elements that earlier packets put into dynamic sets.
    pub(super) known: &'t [Learned],
}

/// How a packet ends in a base chain, unless it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Refused(Refusal),
    Dropped,
}

/// What a statement or a rule decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Control {
    /// The next statement, or after the last one the next rule.
    Go,
    /// The next rule.
    Break,
    Verdict(Verdict),
    Refuse(Refusal),
}

impl From<Verdict> for Control {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

/// Where packets are after a chain.
#[derive(Debug, Default)]
pub(super) struct Exits<'t> {
    /// At its end, or back from it.
    pub(super) fell: Weighted<'t, Flow>,
    /// Accepted: done with this base chain.
    pub(super) accepted: Weighted<'t, Flow>,
    pub(super) ended: Weighted<'t, (Flow, End)>,
}

/// Where packets turn to after a rule, unless they leave the chain.
#[derive(Debug, Default)]
struct Turns<'t> {
    next: Weighted<'t, Flow>,
    jumps: Calls<'t>,
    gotos: Calls<'t>,
}

/// Packets on their way into other chains.
type Calls<'t> = BTreeMap<Arc<str>, Weighted<'t, Flow>>;

impl<'t> Exits<'t> {
    /// Sends a packet where a rule wants it.
    fn sort(
        &mut self,
        control: Control,
        flow: Flow,
        way: Way<'t>,
        turns: &mut Turns<'t>,
    ) -> Result<(), TraceError> {
        match control {
            Control::Go | Control::Break => turns.next.add(flow, way),
            Control::Refuse(refusal) => self.ended.add((flow, End::Refused(refusal)), way),
            Control::Verdict(Verdict::Drop) => self.ended.add((flow, End::Dropped), way),
            Control::Verdict(Verdict::Accept) => self.accepted.add(flow, way),
            Control::Verdict(Verdict::Return) => self.fell.add(flow, way),
            Control::Verdict(Verdict::Jump(chain)) => turns.jumps.entry(chain).or_default().add(flow, way),
            Control::Verdict(Verdict::Goto(chain)) => turns.gotos.entry(chain).or_default().add(flow, way),
        }
    }
}

impl<'t> Walk<'t> {
    /// Takes packets through one chain and all it leads to.
    pub(super) fn chain(
        &self,
        site: ScenarioNetwork<'t>,
        flows: Weighted<'t, Flow>,
    ) -> Result<Exits<'t>, TraceError> {
        let mut exits = Exits::default();
        let mut here = flows;
        for rule in site.chain.rules() {
            let mut turns = Turns::default();
            for (flow, way) in here {
                for ((control, flow), way) in self.rule(site, rule, flow, way)? {
                    exits.sort(control, flow, way, &mut turns)?;
                }
            }
            // Back from a jump the next rule follows; back from a goto, whatever follows this chain.
            here = turns.next;
            here.add_all(self.call(site, turns.jumps, &mut exits)?)?;
            let returned = self.call(site, turns.gotos, &mut exits)?;
            exits.fell.add_all(returned)?;
        }
        exits.fell.add_all(here)?;
        Ok(exits)
    }

    /// Takes packets through other chains; gives back those that return.
    fn call(
        &self,
        site: ScenarioNetwork<'t>,
        calls: Calls<'t>,
        exits: &mut Exits<'t>,
    ) -> Result<Weighted<'t, Flow>, TraceError> {
        let mut returned = Weighted::default();
        for (name, flows) in calls {
            let missing = || TraceError::Missing { table: site.id.clone(), object: Arc::clone(&name) };
            let chain = site.table.chain(&name).ok_or_else(missing)?;
            let called = self.chain(ScenarioNetwork { chain, ..site }, flows)?;
            returned.add_all(called.fell)?;
            exits.accepted.add_all(called.accepted)?;
            exits.ended.add_all(called.ended)?;
        }
        Ok(returned)
    }

    /// Takes one packet through one rule.
    fn rule(
        &self,
        site: ScenarioNetwork<'t>,
        rule: &'t Rule,
        flow: Flow,
        way: Way<'t>,
    ) -> Result<Weighted<'t, (Control, Flow)>, TraceError> {
        let before = (flow.clone(), way.trail.clone());
        let mut done = Weighted::default();
        let mut here = Weighted::default();
        here.add(flow, way)?;
        here = here.worked(Work { rules: 1, ..Work::default() });
        for statement in &rule.statements {
            here = here.worked(asked(statement, site.id.family));
            let mut next = Weighted::default();
            for (flow, way) in here {
                for branch in self.statement(Place { site, rule }, statement, &flow)? {
                    let probability = way.probability.and(branch.share)?;
                    let trail = branch.found.map_or_else(|| way.trail.clone(), |f| way.trail.found(f));
                    let way = Way { probability, trail, ..way };
                    match branch.control {
                        Control::Go => next.add(branch.flow, way)?,
                        control => done.add((control, branch.flow), way)?,
                    }
                }
            }
            here = next;
        }
        for (flow, way) in here {
            done.add((Control::Go, flow), way)?;
        }
        record(done, site, rule, &before)
    }
}

/// What it takes to evaluate a statement. One that does not match is left at its last expression, nearly always.
///
/// Writing the expressions to count them costs more than all else of a packet's step, so each statement is counted once.
fn asked(statement: &Statement, family: Family) -> Work {
    thread_local! {
        static COUNTED: RefCell<HashMap<(Statement, Family), Work>> = RefCell::default();
    }
    let count = |(statement, family): &(Statement, Family)| {
        let expressions = Rule::new([statement.clone()]).expressions(*family).unwrap_or_default();
        let mut work = Work::default();
        for expression in expressions.iter() {
            work.expressions += 1;
            work.lookups += u32::from(expression.name() == "lookup");
        }
        work
    };
    COUNTED.with_borrow_mut(|counted| {
        let key = (statement.clone(), family);
        *counted.entry(key).or_insert_with_key(count)
    })
}

/// Writes the rule into the paths of packets that it matched or changed.
fn record<'t>(
    done: Weighted<'t, (Control, Flow)>,
    site: ScenarioNetwork<'t>,
    rule: &'t Rule,
    before: &(Flow, Trail<'t>),
) -> Result<Weighted<'t, (Control, Flow)>, TraceError> {
    let mut recorded = Weighted::default();
    for ((control, flow), way) in done {
        let idle = control == Control::Break && flow == before.0;
        let trail = if idle { before.1.clone() } else { way.trail.rule(site, rule) };
        recorded.add((control, flow), Way { trail, ..way })?;
    }
    Ok(recorded)
}

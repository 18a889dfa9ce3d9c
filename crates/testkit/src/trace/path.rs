//! The rules that a packet matched on its way.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::fake::FakeSet;
use portolan_nft::{Element, Rule, TableId};

use super::hook::ScenarioNetwork;

/// One thing that happened to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It met a rule that matched it, or that did something before it stopped matching.
    Rule {
        /// The rule's table.
        table: TableId,
        /// The rule's chain.
        chain: Arc<str>,
        /// The rule in nft's words.
        rule: String,
        /// The elements it met in sets and maps, in nft's words.
        elements: Vec<String>,
    },
    /// No rule, but the kernel's routing dropped it, for this reason.
    Unroutable(&'static str),
}

/// `ip portolan services: ip daddr . th dport vmap @services  # 10.96.0.1 . 53 : goto cluster-2`
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { table, chain, rule, elements } => {
                write!(f, "{table} {chain}: {rule}")?;
                let mut before = "  # ";
                for element in elements {
                    write!(f, "{before}{element}")?;
                    before = "; ";
                }
                Ok(())
            }
            Self::Unroutable(reason) => write!(f, "routing: {reason}"),
        }
    }
}

/// An element met in a set.
#[derive(Debug, Clone)]
pub(super) struct Found<'t> {
    pub(super) set: &'t FakeSet,
    pub(super) element: Element,
}

/// Steps so far, latest first. Ways that part share what they have in common, and nothing is
/// written out before a test prints it.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail<'t>(Option<Rc<Node<'t>>>);

#[derive(Debug)]
struct Node<'t> {
    event: Event<'t>,
    before: Trail<'t>,
}

#[derive(Debug)]
enum Event<'t> {
    Found(Found<'t>),
    Rule(ScenarioNetwork<'t>, &'t Rule),
    Unroutable(&'static str),
}

impl<'t> Trail<'t> {
    /// The rule at work met an element. Counts only once the rule itself is recorded.
    pub(super) fn found(&self, found: Found<'t>) -> Self {
        self.with(Event::Found(found))
    }

    /// A rule matched.
    pub(super) fn rule(&self, site: ScenarioNetwork<'t>, rule: &'t Rule) -> Self {
        self.with(Event::Rule(site, rule))
    }

    /// Routing dropped the packet.
    pub(super) fn unroutable(&self, reason: &'static str) -> Self {
        self.with(Event::Unroutable(reason))
    }

    fn with(&self, event: Event<'t>) -> Self {
        Self(Some(Rc::new(Node { event, before: self.clone() })))
    }

    /// The steps in the order they were taken.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut nodes: Vec<&Node<'t>> =
            std::iter::successors(self.0.as_deref(), |node| node.before.0.as_deref()).collect();
        nodes.reverse();
        let (mut steps, mut elements) = (Vec::new(), Vec::new());
        for node in nodes {
            match &node.event {
                Event::Found(found) => elements.push(found),
                Event::Rule(site, rule) => steps.push(step(site, rule, &std::mem::take(&mut elements))),
                Event::Unroutable(reason) => steps.push(Step::Unroutable(reason)),
            }
        }
        steps
    }
}

fn step(site: &ScenarioNetwork<'_>, rule: &Rule, elements: &[&Found<'_>]) -> Step {
    let family = site.id.family;
    let shown = |found: &&Found<'_>| found.element.display(found.set.set(), family).to_string();
    Step::Rule {
        table: site.id.clone(),
        chain: Arc::clone(&site.chain.chain().name),
        rule: rule.display(family).to_string(),
        elements: elements.iter().map(shown).collect(),
    }
}

//! Whether a backend, built-in or custom, keeps the contract of [`ProxyBackend`](portolan_core::ProxyBackend).
//!
//! A backend brings a [`Candidate`]: how a process makes it, and what its node holds as text. The kit plays
//! every scenario of the table with real packets, in a network of the test's own, and random clusters
//! against the contract. In the backend's own crate that is
//!
//! ```
//! use portolan_core::{BackendFactory, IpFamily};
//! use portolan_testkit::conformance::{Candidate, Conformance};
//! use portolan_testkit::scenario::Need;
//!
//! # struct MyFactory;
//! # impl MyFactory { fn boxed() -> Box<dyn BackendFactory> { unimplemented!() } }
//! struct Mine;
//!
//! impl Candidate for Mine {
//!     fn factory(&self) -> Box<dyn BackendFactory> {
//!         MyFactory::boxed()
//!     }
//!
//!     fn holds(&self, family: IpFamily) -> String {
//!         std::fs::read_to_string(format!("/run/mine-{family}")).unwrap_or_default()
//!     }
//! }
//!
//! fn kit() -> Conformance<Mine> {
//!     Conformance::new(|_node| Mine).unmet([Need::ServiceCidrs])
//! }
//!
//! portolan_testkit::conformance_tests!(kit);
//! # fn main() {}
//! ```
//!
//! which makes a test of each scenario, one of the random clusters, and one that holds what is left out
//! against a table kept in the crate (see [`conformance_tests!`](crate::conformance_tests)).
//!
//! Always holds: what a backend does not do is declared, with a reason, and shows in the table. A
//! declaration that fits no scenario fails, so that none outlives what it was made for.

mod generated;
mod model;
mod node;
mod standing;

use std::path::Path;

use portolan_core::{BackendFactory, IpFamily, NodePlan, Protocol};

use self::node::Served;
use crate::netns::Namespace;
use crate::scenario::kernel::{network, run};
use crate::scenario::{Check, Named, Need, Scenario, all, named};

pub use node::Node;
pub use standing::Standing;

/// What a backend's tests bring. All calls are made on a thread in the node's network namespace.
pub trait Candidate: Sync {
    /// A factory, as a process that starts now has it. What an earlier one has done on this node is there.
    fn factory(&self) -> Box<dyn BackendFactory>;

    /// What the node holds for one family, read from where packets meet it and not from the backend's
    /// memory. Two nodes that serve alike give the same text, so names and places that differ between nodes,
    /// and an order that does not matter, are left out. It is the same before the first apply and after
    /// cleanup.
    fn holds(&self, family: IpFamily) -> String;

    /// Asserts what is to hold of `node` besides while one family's plan is programmed, such as that other people's
    /// programs can read it. Called where the kit asserts that a node is sound, first.
    ///
    /// # Panics
    /// It does not hold.
    fn assert_serves(&self, _node: &Namespace, _plan: &NodePlan) {}

    /// Whether something that nothing uses stays for later until everything is compared, which then comes to
    /// operations once.
    fn keeps_unused(&self) -> bool {
        false
    }
}

/// A backend with what it declares of itself.
#[derive(Debug, Clone)]
pub struct Conformance<C> {
    start: fn(&str) -> C,
    unmet: Vec<Need>,
    protocols: Vec<Protocol>,
    listens: bool,
    cases: u32,
    differences: Vec<Difference>,
    adapt: fn(&str, &mut Scenario),
}

/// Scenarios that a backend answers otherwise.
#[derive(Debug, Clone, Copy)]
struct Difference {
    /// A scenario's name, or the beginning of several.
    scenarios: &'static str,
    reason: &'static str,
}

impl Conformance<()> {
    /// Nodes of a backend; `start` is given a name that no other node of the same test has, for files of the
    /// node's own.
    pub fn new<C: Candidate>(start: fn(&str) -> C) -> Conformance<C> {
        Conformance {
            start,
            unmet: Vec::new(),
            protocols: Protocol::ALL.to_vec(),
            listens: false,
            cases: 12,
            differences: Vec::new(),
            adapt: |_, _| {},
        }
    }
}

impl<C: Candidate> Conformance<C> {
    /// Does not meet these needs. Packets that take them are not sent.
    #[must_use]
    pub fn unmet(mut self, needs: impl IntoIterator<Item = Need>) -> Self {
        self.unmet.extend(needs);
        self
    }

    /// Serves these protocols only; packets of others are not sent.
    #[must_use]
    pub fn serving(mut self, protocols: impl IntoIterator<Item = Protocol>) -> Self {
        self.protocols = protocols.into_iter().collect();
        self
    }

    /// Answers by listening at the node's own addresses, as relays do, so that nothing else of the test may
    /// listen there.
    #[must_use]
    pub fn listening_on_the_node(mut self) -> Self {
        self.listens = true;
        self
    }

    /// Answers otherwise in the scenarios whose names begin like this, and why. They are not played: describe
    /// what happens instead in tests of your own, or rather [adapt](Self::adapted) them.
    #[must_use]
    pub fn differing(mut self, scenarios: &'static str, reason: &'static str) -> Self {
        self.differences.push(Difference { scenarios, reason });
        self
    }

    /// Changes scenarios, which are given by name, to what this backend does instead.
    #[must_use]
    pub fn adapted(mut self, adapt: fn(&str, &mut Scenario)) -> Self {
        self.adapt = adapt;
        self
    }

    /// Tries so many random clusters; 12 by default.
    #[must_use]
    pub fn cases(mut self, cases: u32) -> Self {
        self.cases = cases;
        self
    }

    /// Plays the scenario of this name; within [`isolated`](crate::netns::isolated).
    ///
    /// # Panics
    /// Something else becomes of a packet than the scenario says, the backend breaks its contract
    /// ([`Node::assert_sound`]), or cleanup leaves something. Or there is no such scenario.
    pub fn play(&self, name: &str) {
        let named = named(name);
        if let Standing::LeftOut(reason) = self.standing_to(&named) {
            // A test that plays nothing says so; the table shows it, too.
            return report(&format!("{name} is left out: {reason}"));
        }
        let scenario = self.adjusted(&named);
        let net = network(&scenario).unwrap_or_else(|error| panic!("{name}: {error}"));
        let node = Node::new("node", net.node(), self.start, scenario.config.clone());
        let untouched = node.holds();
        let mut served = Served { net, node, listens: self.listens };
        run(name, &scenario, &mut served, &self.unmet);
        served.node.clean();
        assert_eq!(served.node.holds(), untouched, "{name}: cleanup leaves something");
    }

    /// Tries random clusters; within [`isolated`](crate::netns::isolated).
    ///
    /// # Panics
    /// What a node reached step by step, with restarts and complete comparisons between, is not what a fresh
    /// one comes to; the same plan once more changes something; or cleanup leaves something.
    pub fn try_random_clusters(&self) {
        model::check(self.start, self.cases);
    }

    /// Asserts that every difference that was declared is one.
    ///
    /// # Panics
    /// A declaration fits no scenario.
    pub fn assert_declarations_fit(&self) {
        for difference in &self.differences {
            let fits = all().iter().any(|named| named.name.starts_with(difference.scenarios));
            assert!(fits, "no scenario is called {}…", difference.scenarios);
        }
    }

    /// How the backend stands to a scenario, by what it declares.
    ///
    /// # Panics
    /// There is no such scenario.
    pub fn standing(&self, name: &str) -> Standing {
        self.standing_to(&named(name))
    }

    fn standing_to(&self, named: &Named) -> Standing {
        let is_declared = |difference: &&Difference| named.name.starts_with(difference.scenarios);
        match self.differences.iter().find(is_declared) {
            Some(difference) => Standing::LeftOut(difference.reason.to_owned()),
            None => Standing::of(&named.scenario, &self.adjusted(named), &self.unmet),
        }
    }

    /// All scenarios and the backend's result in each, as a table in Markdown, which shows readers what to rely
    /// on. [`assert_table!`](crate::assert_table) holds the one that is kept beside the tests.
    pub fn table(&self) -> String {
        let standings: Vec<_> = all().iter().map(|named| (named.name, self.standing_to(named))).collect();
        standing::table(&standings)
    }

    /// Asserts that the table is the one that is kept at `path`, of which `kept` is the text. With `BLESS` in the
    /// environment it is written instead.
    ///
    /// # Panics
    /// They differ; the message has the lines that do. Or it cannot be written.
    pub fn assert_table(&self, path: &Path, kept: &str) {
        let table = self.table();
        if std::env::var_os("BLESS").is_some() {
            let written = std::fs::write(path, &table);
            return written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let other = standing::differing_lines(kept, &table);
        assert!(other.is_empty(), "{} changed; BLESS=1 accepts it:\n{other}", path.display());
    }

    /// The scenario as this backend is to play it.
    fn adjusted(&self, named: &Named) -> Scenario {
        let mut scenario = named.scenario.clone();
        (self.adapt)(named.name, &mut scenario);
        for check in scenario.steps.iter_mut().flat_map(|step| &mut step.checks) {
            let traffic = match check {
                Check::Each(traffic, _) => traffic,
                Check::Stay(comers) | Check::SomeMoved(comers) => &mut comers.traffic,
                Check::Spread(_) | Check::Apart(..) => continue,
            };
            traffic.protocols.retain(|protocol| self.protocols.contains(protocol));
        }
        scenario
    }
}

#[expect(clippy::print_stdout, reason = "what a test prints is for the one who runs it")]
fn report(line: &str) {
    println!("{line}");
}

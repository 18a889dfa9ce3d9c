//! A node that a candidate serves, inside this process.

use std::collections::BTreeSet;

use portolan_core::backend::error_chain;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, IpFamily, ProxyBackend, State};

use super::Candidate;
use crate::netns::{Namespace, Topology};
use crate::objects::empty_lists;
use crate::runtime::block_on;
use crate::scenario::kernel::ServedNode;

/// A namespace, what the node in it is to serve, and the backends that make it do so.
///
/// For tests of one's own beside those of the kit: it calls backends as the proxy does, in the node's
/// namespace, one call at a time.
pub struct Node<C> {
    /// What the node is to serve.
    pub state: State,
    namespace: Namespace,
    candidate: C,
    backends: Vec<(IpFamily, Box<dyn ProxyBackend>)>,
    /// Families of which something is left to remove, as their backends said last.
    unfinished: BTreeSet<IpFamily>,
}

/// How often in a row a comparison may find that something has become removable: connections end one by one, and
/// seldom do.
const REMOVALS: usize = 3;

impl<C: Candidate> Node<C> {
    /// A node in an empty cluster, not served yet. `start` is given `name`.
    ///
    /// # Panics
    /// The mode cannot run here, by its own probe, or its backends cannot be made.
    pub fn new(name: &str, namespace: &Namespace, start: fn(&str) -> C, config: NodeConfig) -> Self {
        let mut state = State::new(config);
        for event in empty_lists() {
            state.handle(event);
        }
        state.prepare();
        let candidate = start(name);
        let backends = backends(&candidate, namespace);
        Self { state, namespace: namespace.clone(), candidate, backends, unfinished: BTreeSet::new() }
    }

    /// Where the node is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Takes events in and makes the node follow them; returns how many operations that took.
    ///
    /// # Panics
    /// A backend fails.
    pub fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        for event in events {
            self.state.handle(event);
        }
        self.state.prepare();
        let apply = |family| match self.try_apply(family) {
            Ok(report) => report.operations,
            Err(error) => panic!("{family}: {}", error_chain(&error)),
        };
        IpFamily::ALL.map(apply).iter().sum()
    }

    /// Makes one family follow what is prepared.
    ///
    /// # Errors
    /// The backend's. The changes are kept, as by the proxy.
    pub fn try_apply(&mut self, family: IpFamily) -> Result<ApplyReport, BackendError> {
        let (plan, changes) = (self.state.plan(family), self.state.changes(family));
        let backend = of(&mut self.backends, family);
        let report = inside(&self.namespace, || block_on(backend.apply(plan, changes)))?;
        self.state.committed(family);
        if report.follow_up.is_some() {
            self.unfinished.insert(family);
        } else {
            self.unfinished.remove(&family);
        }
        Ok(report)
    }

    /// Looks whether everything is there still, and compares it where it is not, as the proxy does every
    /// sync period.
    ///
    /// # Panics
    /// A backend cannot tell, or fails.
    pub fn end_sync_period(&mut self) -> usize {
        let missed: Vec<_> = IpFamily::ALL.into_iter().filter(|family| !self.is_intact(*family)).collect();
        for family in missed {
            self.state.forget_applied(family);
        }
        self.apply([])
    }

    /// What the backend says of it.
    ///
    /// # Panics
    /// It cannot tell.
    pub fn is_intact(&mut self, family: IpFamily) -> bool {
        let backend = of(&mut self.backends, family);
        let intact = inside(&self.namespace, || block_on(backend.is_intact()));
        intact.unwrap_or_else(|error| panic!("{family}: {}", error_chain(&error)))
    }

    /// Compares everything, as after a failure.
    ///
    /// # Panics
    /// A backend fails.
    pub fn compare_all(&mut self) -> usize {
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
        self.apply([])
    }

    /// The process ends without a word and another begins, which knows the same objects and has applied
    /// nothing.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn restart(&mut self) {
        self.backends.clear();
        self.backends = backends(&self.candidate, &self.namespace);
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
    }

    /// Has all removed that the mode may have left, by a process that did not write it.
    ///
    /// # Panics
    /// A backend fails.
    pub fn clean(&mut self) {
        self.restart();
        for (family, backend) in &mut self.backends {
            let cleaned = inside(&self.namespace, || block_on(backend.cleanup()));
            cleaned.unwrap_or_else(|error| panic!("{family}: {}", error_chain(&error)));
        }
    }

    /// What the candidate reads back, for both families.
    pub fn holds(&self) -> [String; 2] {
        let Self { candidate, namespace, .. } = self;
        IpFamily::ALL.map(|family| inside(namespace, || candidate.holds(family)))
    }

    /// Asserts what the contract says of any plan that is in force: the same one again, a complete comparison and a
    /// process that starts anew change nothing, but for what was left to be removed later, and all is there. And
    /// what the candidate [asserts besides](Candidate::assert_serves).
    ///
    /// # Panics
    /// One of these does not hold.
    #[track_caller]
    pub fn assert_sound(&mut self) {
        let held = self.holds();
        for family in IpFamily::ALL {
            let Self { state, namespace, candidate, .. } = self;
            let plan = state.plan(family);
            inside(namespace, || candidate.assert_serves(namespace, plan));
        }
        self.assert_idle("the same plan once more", |node| node.apply([]));
        if self.candidate.keeps_unused() {
            self.compare_all();
        }
        self.assert_idle("a complete comparison", Self::compare_all);
        self.restart();
        // What is there may have to be claimed by the new process, once.
        self.apply([]);
        self.assert_idle("a complete comparison after a restart", Self::compare_all);
        assert_eq!(self.holds(), held, "what the node holds after a restart");
        for family in IpFamily::ALL {
            assert!(self.is_intact(family), "the backend misses something of {family}");
        }
    }

    /// Asserts that this takes no operations. Where a backend said before that something was left to remove
    /// ([`ApplyReport::follow_up`]), that may have become possible meanwhile.
    #[track_caller]
    fn assert_idle(&mut self, what: &str, act: impl Fn(&mut Self) -> usize) {
        for _ in 0..REMOVALS {
            let was_unfinished = !self.unfinished.is_empty();
            let operations = act(self);
            if operations == 0 {
                return;
            }
            assert!(was_unfinished, "{what} takes {operations} operations");
        }
        panic!("{what} takes operations each of {REMOVALS} times");
    }
}

fn backends<C: Candidate>(candidate: &C, namespace: &Namespace) -> Vec<(IpFamily, Box<dyn ProxyBackend>)> {
    let make = || {
        let factory = candidate.factory();
        if let Err(failure) = block_on(factory.probe()) {
            panic!("{failure}");
        }
        let create = |family| match factory.create(family) {
            Ok(backend) => (family, backend),
            Err(error) => panic!("{family}: {}", error_chain(&error)),
        };
        IpFamily::ALL.map(create).into()
    };
    inside(namespace, make)
}

fn of(backends: &mut [(IpFamily, Box<dyn ProxyBackend>)], family: IpFamily) -> &mut dyn ProxyBackend {
    let found = backends.iter_mut().find(|(of, _)| *of == family);
    &mut **found.map_or_else(|| panic!("no backend of {family}"), |(_, backend)| backend)
}

fn inside<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    namespace.run(work).unwrap_or_else(|error| panic!("{error}"))
}

/// The node within a scenario's network.
pub(super) struct Served<C> {
    pub(super) net: Topology,
    pub(super) node: Node<C>,
    pub(super) listens: bool,
}

impl<C: Candidate> ServedNode for Served<C> {
    fn network(&self) -> &Topology {
        &self.net
    }

    fn follow(&mut self, events: Vec<Event>) {
        self.node.apply(events);
        self.node.end_sync_period();
    }

    fn assert_sound(&mut self) {
        self.node.assert_sound();
    }

    fn listens_on_the_node(&self) -> bool {
        self.listens
    }
}

//! A node that a candidate serves, inside this process.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use portolan_core::backend::error_chain;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, BackendFactory, IpFamily, ProxyBackend};

use super::Candidate;
use crate::netns::{Namespace, Topology};
use crate::process::Process;
use crate::runtime::block_on;
use crate::scenario::kernel::ServedNode;

/// A namespace, what the node in it is to serve, and the backends that make it do so.
///
/// For tests of one's own beside those of the kit: it calls backends as the proxy does, in the node's
/// namespace, one call at a time.
pub struct Node<C> {
    namespace: Namespace,
    candidate: C,
    process: Process<Box<dyn ProxyBackend>>,
    /// Families of which something is left to remove, as their backends said last.
    unfinished: BTreeSet<IpFamily>,
}

/// For how long comparisons may find more and more that has become removable: connections end one by one, and those
/// that were reset are forgotten after some seconds (ten for TCP, `tcp_timeouts` in net/netfilter/ipvs/ip_vs_proto_tcp.c).
const REMOVALS: Duration = Duration::from_secs(15);

impl<C: Candidate> Node<C> {
    /// A node in an empty cluster, not served yet. `start` is given `name`.
    ///
    /// # Panics
    /// The mode cannot run here, by its own probe, or its backends cannot be made.
    pub fn new(name: &str, namespace: &Namespace, start: fn(&str) -> C, config: NodeConfig) -> Self {
        let candidate = start(name);
        let process = Process::start(config, [], maker(&candidate, namespace));
        Self { namespace: namespace.clone(), candidate, process, unfinished: BTreeSet::new() }
    }

    /// Where the node is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Takes events in, which the node does not follow yet.
    pub fn handle(&mut self, events: impl IntoIterator<Item = Event>) {
        self.process.handle(events);
    }

    /// Takes events in and makes the node follow them; returns how many operations that took.
    ///
    /// # Panics
    /// A backend fails.
    pub fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        self.handle(events);
        let apply = |family| match self.try_apply(family) {
            Ok(report) => report.operations,
            Err(error) => panic!("{family}: {}", error_chain(&error)),
        };
        IpFamily::ALL.map(apply).iter().sum()
    }

    /// Makes one family follow.
    ///
    /// # Errors
    /// The backend's. The changes are kept, as by the proxy.
    pub fn try_apply(&mut self, family: IpFamily) -> Result<ApplyReport, BackendError> {
        let namespace = &self.namespace;
        let report = self.process.try_apply_by(family, |backend, plan, changes| {
            inside(namespace, || block_on(backend.apply(plan, changes)))
        })?;
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
    /// A backend cannot check, or fails.
    pub fn end_sync_period(&mut self) -> usize {
        let missed: Vec<_> = IpFamily::ALL.into_iter().filter(|family| !self.is_intact(*family)).collect();
        for family in missed {
            self.process.state.forget_applied(family);
        }
        self.apply([])
    }

    /// What the backend says of it.
    ///
    /// # Panics
    /// It cannot check.
    pub fn is_intact(&mut self, family: IpFamily) -> bool {
        let backend = self.process.backend(family);
        let intact = inside(&self.namespace, || block_on(backend.is_intact()));
        intact.unwrap_or_else(|error| panic!("{family}: {}", error_chain(&error)))
    }

    /// Compares everything, as after a failure.
    ///
    /// # Panics
    /// A backend fails.
    pub fn compare_all(&mut self) -> usize {
        self.process.forget_applied();
        self.apply([])
    }

    /// The process ends without a word and another begins, which knows the same objects and has applied
    /// nothing.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn restart(&mut self) {
        self.process.restart(maker(&self.candidate, &self.namespace));
        self.unfinished.clear();
    }

    /// Has all removed that the mode may have left, by a process that did not write it.
    ///
    /// # Panics
    /// A backend fails.
    pub fn clean(&mut self) {
        self.restart();
        for family in IpFamily::ALL {
            let backend = self.process.backend(family);
            let cleaned = inside(&self.namespace, || block_on(backend.cleanup()));
            cleaned.unwrap_or_else(|error| panic!("{family}: {}", error_chain(&error)));
        }
    }

    /// What the candidate reads back, for both families.
    pub fn holds(&self) -> [String; 2] {
        let Self { candidate, namespace, .. } = self;
        IpFamily::ALL.map(|family| inside(namespace, || candidate.holds(family)))
    }

    /// Asserts what the contract requires of any programmed plan: the same one again, a complete comparison and a
    /// process that starts anew change nothing, but for what was left to be removed later, and all is there. And
    /// what the candidate [asserts besides](Candidate::assert_serves).
    ///
    /// # Panics
    /// One of these does not hold.
    #[track_caller]
    pub fn assert_sound(&mut self) {
        let held = self.holds();
        for family in IpFamily::ALL {
            let Self { process, namespace, candidate, .. } = self;
            let plan = process.state.plan(family);
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
        let deadline = Instant::now() + REMOVALS;
        loop {
            let was_unfinished = !self.unfinished.is_empty();
            let operations = act(self);
            if operations == 0 {
                return;
            }
            assert!(was_unfinished, "{what} takes {operations} operations");
            assert!(
                Instant::now() < deadline,
                "{what} takes operations again and again, {operations} at last"
            );
        }
    }
}

/// Makes the backends of a process: one factory, which is asked first whether the mode can run.
fn maker<C: Candidate>(
    candidate: &C,
    namespace: &Namespace,
) -> impl FnMut(IpFamily) -> Box<dyn ProxyBackend> {
    let mut factory = None;
    move |family| {
        inside(namespace, || {
            let factory = factory.get_or_insert_with(|| probed(candidate));
            factory.create(family).unwrap_or_else(|error| panic!("{family}: {}", error_chain(&error)))
        })
    }
}

fn probed(candidate: &impl Candidate) -> Box<dyn BackendFactory> {
    let factory = candidate.factory();
    if let Err(failure) = block_on(factory.probe()) {
        panic!("{failure}");
    }
    factory
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

//! A node that the backend serves, inside this process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use caps::{CapSet, Capability, CapsHashSet};
use portolan_backend_userspace::{Counters, Options, UserspaceFactory};
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendFactory, IpFamily, ProxyBackend, State};
use portolan_testkit::block_on;
use portolan_testkit::netns::{Namespace, Topology, wait_until};
use portolan_testkit::objects::empty_lists;
use portolan_testkit::scenario::Scenario;

use crate::held::{Captured, assert_no_rules, is_empty, ours, planned};

/// What the crate says it needs.
pub(crate) const LEAST: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_BIND_SERVICE];

/// A network whose node is served.
pub(crate) struct Node {
    pub(crate) net: Topology,
    pub(crate) state: State,
    pub(crate) counters: Arc<Counters>,
    backends: Vec<(IpFamily, Box<dyn ProxyBackend>)>,
    privileges: Vec<Capability>,
    options: Options,
}

impl Node {
    /// A node with the configuration that scenarios begin with.
    pub(crate) fn new(net: Topology) -> Self {
        Self::with(net, Scenario::new().config, Options::default(), &LEAST)
    }

    pub(crate) fn with(
        net: Topology,
        config: NodeConfig,
        options: Options,
        privileges: &[Capability],
    ) -> Self {
        let mut state = State::new(config);
        for event in empty_lists() {
            state.handle(event);
        }
        let (counters, backends) = start(net.node(), options, privileges);
        Self { net, state, counters, backends, privileges: privileges.into(), options }
    }

    /// Takes events in and makes the node follow them; returns how many operations that took.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        for event in events {
            self.state.handle(event);
        }
        self.state.prepare();
        IpFamily::ALL.map(|family| self.apply_family(family).operations).iter().sum()
    }

    fn apply_family(&mut self, family: IpFamily) -> ApplyReport {
        let (_, backend) = self.backends.iter_mut().find(|(f, _)| *f == family).unwrap();
        let (plan, changes) = (self.state.plan(family), self.state.changes(family));
        let report =
            with_privileges(self.net.node(), &self.privileges, || block_on(backend.apply(plan, changes)));
        self.state.committed(family);
        report.unwrap()
    }

    /// The proxy ends, with all its connections, and another begins.
    pub(crate) fn restart(mut self) -> Self {
        self.stop();
        let (counters, backends) = start(self.net.node(), self.options, &self.privileges);
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
        Self { counters, backends, ..self }
    }

    /// Another proxy begins before this one ends, which it does with what is returned.
    pub(crate) fn overlap(mut self) -> (Self, impl Drop) {
        let before = Ending(std::mem::take(&mut self.backends));
        let (counters, backends) = start(self.net.node(), self.options, &self.privileges);
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
        (Self { counters, backends, ..self }, before)
    }

    /// The same network with another configuration and nothing in the cluster.
    pub(crate) fn renewed(mut self, config: NodeConfig) -> Self {
        self.clean();
        self.stop();
        Self::with(self.net, config, self.options, &self.privileges)
    }

    /// The proxy ends as a process does: its sockets are closed, its routes stay.
    pub(crate) fn stop(&mut self) {
        self.backends.clear();
        let gone = || self.counters.listeners.get() == 0;
        wait_until("listeners are closed", Duration::from_secs(60), gone).unwrap();
    }

    pub(crate) fn is_intact(&mut self) -> bool {
        let node = self.net.node();
        self.backends
            .iter_mut()
            .all(|(_, backend)| node.run(|| block_on(backend.is_intact())).unwrap().unwrap())
    }

    pub(crate) fn clean(&mut self) {
        for (family, backend) in &mut self.backends {
            with_privileges(self.net.node(), &self.privileges, || block_on(backend.cleanup())).unwrap();
            self.state.forget_applied(*family);
        }
    }

    /// Forgets what was applied, as after a failure: the next apply compares everything.
    pub(crate) fn compare_all(&mut self) -> usize {
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
        self.apply([])
    }

    /// What must come to the node by the plan.
    pub(crate) fn planned(&self) -> BTreeSet<Captured> {
        IpFamily::ALL.into_iter().flat_map(|family| planned(self.state.plan(family))).collect()
    }

    /// What we bring to the node.
    pub(crate) fn ours(&self) -> BTreeSet<Captured> {
        self.net.node().run(|| IpFamily::ALL.into_iter().flat_map(ours).collect()).unwrap()
    }

    /// Whether nothing of ours is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.net.node().run(is_empty).unwrap()
    }

    /// Asserts what must hold whatever the objects are.
    #[track_caller]
    pub(crate) fn assert_sound(&mut self) {
        assert_eq!(self.ours(), self.planned(), "routes and rules");
        assert_eq!(self.counters.unserved.get(), 0, "places that could not be served");
        assert_eq!(self.apply([]), 0, "the same plan once more");
        assert_eq!(self.compare_all(), 0, "compared with everything");
        assert!(self.is_intact());
        self.net.node().run(assert_no_rules).unwrap();
    }
}

type Backends = Vec<(IpFamily, Box<dyn ProxyBackend>)>;

/// A proxy that is about to end.
struct Ending(Backends);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.clear();
    }
}

fn start(node: &Namespace, options: Options, privileges: &[Capability]) -> (Arc<Counters>, Backends) {
    let factory = UserspaceFactory::new(options);
    let create = || {
        block_on(factory.probe()).unwrap();
        IpFamily::ALL.map(|family| (family, factory.create(family).unwrap())).into()
    };
    (factory.counters(), with_privileges(node, privileges, create))
}

/// Does something on a thread in the node that has these capabilities and no others, and neither have
/// threads that it starts.
pub(crate) fn with_privileges<T: Send>(
    node: &Namespace,
    privileges: &[Capability],
    work: impl FnOnce() -> T + Send,
) -> T {
    let limited = || {
        limit_to(privileges);
        work()
    };
    node.run(limited).unwrap()
}

/// Leaves this thread, and those that it starts, these capabilities and no others.
pub(crate) fn limit_to(privileges: &[Capability]) {
    let kept: CapsHashSet = privileges.iter().copied().collect();
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).unwrap();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).unwrap();
    }
}

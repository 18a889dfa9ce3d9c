//! A cluster that things happen to, and the checks that follow.

use portolan_conntrack::Conntrack;
use portolan_core::event::Event;
use portolan_core::{ChangeSet, FlowCheck, FlowCleaner, IpFamily, State};
use portolan_testkit::netns::{Program, wait_until_local};
use portolan_testkit::objects::empty_lists;
use portolan_testkit::world;

/// What addresses the node has, both on loopback so that no other interface is needed.
pub(crate) const NODE: [&str; 2] = ["192.0.2.1", "2001:db8:2::1"];

/// A proxy's knowledge with its cleaner, and without rules.
pub(crate) struct Cluster {
    state: State,
    pub(crate) conntrack: Conntrack,
}

impl Cluster {
    /// Nothing yet; the kernel knows as much.
    pub(crate) fn new() -> Self {
        let mut cluster = Self { state: State::new(world::config()), conntrack: Conntrack::new() };
        cluster.happen(empty_lists());
        cluster
    }

    /// Takes in events, and removes the flows of both families that are stale after them. Returns how many.
    pub(crate) fn happen(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        let mut removed = 0;
        for (family, check) in self.checks(events) {
            removed += self.conntrack.remove_stale(family, &check).unwrap();
        }
        removed
    }

    /// Takes in events, and gives the checks that belong to them.
    pub(crate) fn checks(&mut self, events: impl IntoIterator<Item = Event>) -> [(IpFamily, FlowCheck); 2] {
        for event in events {
            self.state.handle(event);
        }
        self.state.prepare();
        IpFamily::ALL.map(|family| {
            let check = FlowCheck::after(self.state.plan(family), self.state.changes(family));
            self.state.committed(family);
            (family, check)
        })
    }

    /// The checks of a proxy that starts now.
    pub(crate) fn checks_of_a_restart(&self) -> [(IpFamily, FlowCheck); 2] {
        IpFamily::ALL
            .map(|family| (family, FlowCheck::after(self.state.plan(family), &ChangeSet::complete())))
    }

    /// Starts the proxy anew, and removes what is stale then.
    pub(crate) fn restart(&mut self) -> usize {
        self.conntrack = Conntrack::new();
        self.compare()
    }

    /// Looks at everything, as from time to time, and removes what is stale. Returns how many.
    pub(crate) fn compare(&mut self) -> usize {
        let checks = self.checks_of_a_restart();
        checks.iter().map(|(family, check)| self.conntrack.remove_stale(*family, check).unwrap()).sum()
    }
}

/// Gives this network namespace the node's addresses.
pub(crate) fn become_node() {
    for address in NODE {
        Program::new("ip").args(["address", "add", address, "dev", "lo"]).run().unwrap();
    }
    wait_until_local(NODE[1]).unwrap();
}

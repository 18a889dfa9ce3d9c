//! A node that the backend serves, inside this process.

use std::fs;

use portolan_backend_ipvs::{IpvsBackend, Netlink, Options};
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, IpFamily, ProxyBackend, State};
use portolan_testkit::block_on;
use portolan_testkit::netns::Topology;
use portolan_testkit::objects::empty_lists;
use portolan_testkit::scenario::kernel::ServedNode;

/// A network, its objects, and what makes its node serve them.
pub(crate) struct Node {
    pub(crate) net: Topology,
    pub(crate) state: State,
    options: Options,
    backends: Vec<(IpFamily, IpvsBackend<Netlink>)>,
}

impl Node {
    pub(crate) fn new(net: Topology, config: NodeConfig, options: Options) -> Self {
        let mut state = State::new(config);
        for event in empty_lists() {
            state.handle(event);
        }
        let backends = connect(&net, &options);
        Self { net, state, options, backends }
    }

    /// The proxy's process ends and a new one starts.
    pub(crate) fn restart(self) -> Self {
        let Self { net, mut state, options, backends } = self;
        drop(backends);
        for family in IpFamily::ALL {
            state.forget_applied(family);
        }
        let backends = connect(&net, &options);
        Self { net, state, options, backends }
    }

    /// Takes events in and makes the node follow them, by family.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<ApplyReport> {
        for event in events {
            self.state.handle(event);
        }
        self.state.prepare();
        let (state, backends) = (&mut self.state, &mut self.backends);
        let node = self.net.node();
        let mut reports = Vec::new();
        for (family, backend) in backends {
            let (plan, changes) = (state.plan(*family), state.changes(*family));
            let report = node.run(|| block_on(backend.apply(plan, changes)));
            reports.push(report.unwrap().unwrap());
            state.committed(*family);
        }
        reports
    }

    /// Compares everything.
    pub(crate) fn compare_all(&mut self) -> Vec<ApplyReport> {
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
        self.apply([])
    }

    /// What happens every sync period: where the kernel is not as it was left, everything is compared.
    pub(crate) fn look(&mut self) -> bool {
        let mut is_intact = true;
        for (family, backend) in &mut self.backends {
            if !self.net.node().run(|| block_on(backend.is_intact())).unwrap().unwrap() {
                self.state.forget_applied(*family);
                is_intact = false;
            }
        }
        is_intact
    }

    pub(crate) fn clean(&mut self) {
        for (family, backend) in &mut self.backends {
            self.net.node().run(|| block_on(backend.cleanup())).unwrap().unwrap();
            self.state.forget_applied(*family);
        }
    }

    /// The kernel's own list of virtual servers and their destinations.
    pub(crate) fn servers(&self) -> String {
        self.net.node().run(|| fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap()).unwrap()
    }
}

/// Opens the sockets in the node; they stay there, whoever uses them.
fn connect(net: &Topology, options: &Options) -> Vec<(IpFamily, IpvsBackend<Netlink>)> {
    let open = |family| Netlink::open(family, options.clone()).unwrap();
    let backend = |family| {
        let kernel = net.node().run(|| open(family)).unwrap();
        (family, IpvsBackend::new(family, options.clone(), kernel))
    };
    IpFamily::ALL.map(backend).into()
}

pub(crate) fn operations(reports: &[ApplyReport]) -> usize {
    reports.iter().map(|report| report.operations).sum()
}

impl ServedNode for Node {
    fn network(&self) -> &Topology {
        &self.net
    }

    /// A node may have got an address before, which is seen within a sync period.
    fn follow(&mut self, events: Vec<Event>) {
        self.look();
        self.apply(events);
    }

    fn assert_sound(&mut self) {
        assert!(self.look(), "the kernel is as it was left");
        // Endpoints whose last connection has ended meanwhile go with a complete comparison.
        self.compare_all();
        assert_eq!(operations(&self.compare_all()), 0, "everything compared once more");
        assert_eq!(operations(&self.apply([])), 0, "the same plan once more");
    }
}

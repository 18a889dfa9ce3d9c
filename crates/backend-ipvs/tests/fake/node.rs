//! A node whose kernel is pretended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portolan_backend_ipvs::{Change, IpvsBackend, Options};
use portolan_core::address::PerFamily;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, IpFamily, ProxyBackend};
use portolan_ipvs::{Member, ServerKey, ServerSettings, Set};
use portolan_testkit::{Process, block_on};

use crate::kernel::FakeKernel;

/// The node's own addresses.
const OWN: PerFamily<[&str; 2]> = PerFamily { v4: ["127.0.0.1", "192.0.2.1"], v6: ["::1", "2001:db8:2::1"] };

/// What a kernel holds, as far as it follows from the plan.
pub(crate) type Held = (
    BTreeMap<ServerKey, (ServerSettings, Vec<(SocketAddr, u32)>)>,
    BTreeMap<Set, Vec<Member>>,
    Vec<std::net::IpAddr>,
    BTreeMap<(String, String), Vec<String>>,
);

pub(crate) struct Node {
    pub(crate) process: Process<IpvsBackend<FakeKernel>>,
    pub(crate) kernels: PerFamily<FakeKernel>,
    options: Options,
    now: Arc<Mutex<Instant>>,
}

fn maker(
    kernels: &PerFamily<FakeKernel>,
    options: &Options,
    now: &Arc<Mutex<Instant>>,
) -> impl FnMut(IpFamily) -> IpvsBackend<FakeKernel> {
    |family| {
        let now = Arc::clone(now);
        let clock = Arc::new(move || *now.lock().unwrap());
        IpvsBackend::new(family, options.clone(), kernels[family].clone()).with_clock(clock)
    }
}

impl Node {
    pub(crate) fn new(config: NodeConfig, events: impl IntoIterator<Item = Event>) -> Self {
        Self::with_options(config, events, Options::default())
    }

    pub(crate) fn with_options(
        config: NodeConfig,
        events: impl IntoIterator<Item = Event>,
        options: Options,
    ) -> Self {
        let kernels = PerFamily::from_fn(|_| FakeKernel::default());
        for family in IpFamily::ALL {
            kernels[family].state().elsewhere = OWN[family].iter().map(|ip| ip.parse().unwrap()).collect();
        }
        let now = Arc::new(Mutex::new(Instant::now()));
        let process = Process::start(config, events, maker(&kernels, &options, &now));
        Self { process, kernels, options, now }
    }

    pub(crate) fn restart(mut self) -> Self {
        self.process.restart(maker(&self.kernels, &self.options, &self.now));
        self
    }

    pub(crate) fn handle(&mut self, events: impl IntoIterator<Item = Event>) {
        self.process.handle(events);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    /// The kernels refuse something after so many more changes.
    pub(crate) fn fail_after(&mut self, changes: Option<usize>) {
        for family in IpFamily::ALL {
            self.kernels[family].state().fail_after = changes;
        }
    }

    pub(crate) fn try_apply(&mut self, family: IpFamily) -> Result<ApplyReport, BackendError> {
        self.process.try_apply(family)
    }

    /// Makes the node follow these events, in both families; gives what was changed of IPv4.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Change> {
        self.handle(events);
        self.process.apply_all();
        std::mem::take(&mut self.kernels.v4.state().log)
    }

    /// What the backend of IPv4 says of what was refused.
    pub(crate) fn refusal(&mut self) -> Option<String> {
        self.process.backend(IpFamily::V4).refusal().map(str::to_owned)
    }

    pub(crate) fn is_intact(&mut self, family: IpFamily) -> bool {
        block_on(self.process.backend(family).is_intact()).unwrap()
    }

    pub(crate) fn held(&self, family: IpFamily) -> Held {
        let state = self.kernels[family].state();
        let servers = state.servers.iter().map(|(key, (settings, to))| {
            let to = to.values().map(|to| (to.socket, to.weight)).collect();
            (*key, (settings.clone(), to))
        });
        let members = state.members.iter().map(|(set, members)| {
            let mut members: Vec<_> = members.iter().copied().collect();
            members.sort_unstable();
            (*set, members)
        });
        let device = state.device.iter().flatten().copied().collect();
        (servers.collect(), members.collect(), device, state.chains.clone())
    }
}

//! A node whose kernel is pretended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portolan_backend_ipvs::{Change, IpvsBackend, Options};
use portolan_core::address::PerFamily;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, IpFamily, ProxyBackend, State};
use portolan_ipvs::{Member, ServerKey, ServerSettings, Set};
use portolan_testkit::block_on;
use portolan_testkit::objects::empty_lists;

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
    pub(crate) state: State,
    pub(crate) kernels: PerFamily<FakeKernel>,
    options: Options,
    backends: PerFamily<IpvsBackend<FakeKernel>>,
    now: Arc<Mutex<Instant>>,
}

fn backends(
    kernels: &PerFamily<FakeKernel>,
    options: &Options,
    now: &Arc<Mutex<Instant>>,
) -> PerFamily<IpvsBackend<FakeKernel>> {
    PerFamily::from_fn(|family| {
        let now = Arc::clone(now);
        let clock = Arc::new(move || *now.lock().unwrap());
        IpvsBackend::new(family, options.clone(), kernels[family].clone()).with_clock(clock)
    })
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
        let mut state = State::new(config);
        empty_lists().into_iter().chain(events).for_each(|event| state.handle(event));
        let kernels = PerFamily::from_fn(|_| FakeKernel::default());
        for family in IpFamily::ALL {
            kernels[family].state().elsewhere = OWN[family].iter().map(|ip| ip.parse().unwrap()).collect();
        }
        let now = Arc::new(Mutex::new(Instant::now()));
        let backends = backends(&kernels, &options, &now);
        Self { state, kernels, options, backends, now }
    }

    pub(crate) fn restart(mut self) -> Self {
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
        let backends = backends(&self.kernels, &self.options, &self.now);
        Self { backends, ..self }
    }

    pub(crate) fn handle(&mut self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.state.handle(event));
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
        self.state.prepare();
        let (plan, changes) = (self.state.plan(family), self.state.changes(family));
        let report = block_on(self.backends[family].apply(plan, changes))?;
        self.state.committed(family);
        Ok(report)
    }

    /// Makes the node follow these events, in both families; gives what was changed of IPv4.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Change> {
        self.handle(events);
        for family in IpFamily::ALL {
            self.try_apply(family).unwrap();
        }
        std::mem::take(&mut self.kernels.v4.state().log)
    }

    pub(crate) fn is_intact(&mut self, family: IpFamily) -> bool {
        block_on(self.backends[family].is_intact()).unwrap()
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

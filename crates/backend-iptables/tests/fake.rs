//! The backend on a pretended kernel: what it writes, when, and how much.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;

use portolan_backend_iptables::IptablesBackend;
use portolan_backend_iptables::options::Options;
use portolan_core::event::{Change, Event};
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, IpFamily, ProxyBackend, State};
use portolan_testkit::block_on;
use portolan_testkit::world::{self, World};

use kernel::Fake;

#[path = "fake/changes.rs"]
mod changes;
#[path = "fake/comparison.rs"]
mod comparison;
#[path = "fake/failures.rs"]
mod failures;
#[path = "fake/kernel.rs"]
mod kernel;
#[path = "fake/model.rs"]
mod model;

/// A state, and a kernel and a backend per family.
struct Node {
    state: State,
    backends: Vec<(IpFamily, IptablesBackend<Fake>)>,
}

impl Node {
    /// A node that knows all objects of `events` and has applied nothing.
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        Self::on(Fake::default, world::config(), events)
    }

    fn on(fake: impl Fn() -> Fake, config: NodeConfig, events: impl IntoIterator<Item = Event>) -> Self {
        let mut state = State::new(config);
        for event in portolan_testkit::objects::empty_lists().into_iter().chain(events) {
            state.handle(event);
        }
        let backend = |family| (family, IptablesBackend::new(family, fake(), Options::default()));
        Self { state, backends: IpFamily::ALL.map(backend).into() }
    }

    /// The process dies and another one starts, knowing the same objects.
    fn restart(mut self) -> Self {
        for (family, backend) in &mut self.backends {
            self.state.forget_applied(*family);
            *backend = IptablesBackend::new(*family, backend.tables().clone(), Options::default());
        }
        self
    }

    fn handle(&mut self, events: impl IntoIterator<Item = Event>) -> &mut Self {
        events.into_iter().for_each(|event| self.state.handle(event));
        self
    }

    /// Applies one family, as the sync loop does.
    fn try_apply(&mut self, family: IpFamily) -> Result<ApplyReport, BackendError> {
        self.state.prepare();
        let (_, backend) = self.backends.iter_mut().find(|(f, _)| *f == family).unwrap();
        let (plan, changes) = (self.state.plan(family), self.state.changes(family));
        let report = block_on(backend.apply(plan, changes))?;
        self.state.committed(family);
        Ok(report)
    }

    /// Applies IPv4, which must succeed.
    fn apply(&mut self) -> ApplyReport {
        self.try_apply(IpFamily::V4).unwrap()
    }

    fn fake(&mut self, family: IpFamily) -> Fake {
        self.backends.iter_mut().find(|(f, _)| *f == family).unwrap().1.tables().clone()
    }

    fn each_kernel(&mut self, change: impl Fn(&mut kernel::Kernel)) {
        for (_, backend) in &mut self.backends {
            change(&mut backend.tables().kernel());
        }
    }

    /// All rules; those of lists in any order but for the rules that end them. Not `KUBE-FIREWALL`: that is
    /// the kubelet's as well, and so stays when we need it no more.
    fn rules(&mut self, family: IpFamily) -> BTreeMap<(String, String), Vec<String>> {
        let fake = self.fake(family);
        let kernel = fake.kernel();
        let sorted = |((table, chain), rules): ((&'static str, &str), &[String])| {
            let mut rules = rules.to_vec();
            rules.retain(|rule| !rule.ends_with(" -j KUBE-FIREWALL"));
            if chain == "KUBE-SERVICES" && table == "nat" {
                let ends = |rule: &String| rule.contains("must be the last rule");
                let last = rules.iter().position(ends).unwrap_or(rules.len());
                assert!(rules[last..].iter().all(ends), "{rules:#?}");
                rules[..last].sort_unstable();
            } else if ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"]
                .contains(&chain)
            {
                rules.sort_unstable();
            }
            ((table.to_owned(), chain.to_owned()), rules)
        };
        let rules = kernel.rules().into_iter().filter(|((_, chain), _)| *chain != "KUBE-FIREWALL");
        rules.map(sorted).collect()
    }

    /// Asserts that the rules are those of a node that never knew anything else.
    #[track_caller]
    fn assert_as_from_scratch(&mut self, events: impl IntoIterator<Item = Event>) {
        let mut fresh = Self::new(events);
        for family in IpFamily::ALL {
            fresh.try_apply(family).unwrap();
            // Of a family that the test has not looked at so far.
            self.try_apply(family).unwrap();
            assert_eq!(self.rules(family), fresh.rules(family), "{family}");
        }
    }
}

//! The backend on a fake kernel: what it writes, when, and how much.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use portolan_backend_iptables::IptablesBackend;
use portolan_backend_iptables::options::Options;
use portolan_core::address::PerFamily;
use portolan_core::event::{Change, Event};
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, IpFamily, ProxyBackend};
use portolan_testkit::Process;
use portolan_testkit::block_on;
use portolan_testkit::world::{self, World};

use kernel::Fake;

#[path = "fake/changes.rs"]
mod changes;
#[path = "fake/comparison.rs"]
mod comparison;
#[path = "fake/failures.rs"]
mod failures;
#[path = "fake/hostile.rs"]
mod hostile;
#[path = "fake/kernel.rs"]
mod kernel;
#[path = "fake/model.rs"]
mod model;

/// A process on a kernel for each family.
struct Node(Process<IptablesBackend<Fake>>);

impl Deref for Node {
    type Target = Process<IptablesBackend<Fake>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Node {
    /// A node that knows all objects of `events` and has applied nothing.
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        Self::on(Fake::default, world::config(), events)
    }

    fn on(fake: impl Fn() -> Fake, config: NodeConfig, events: impl IntoIterator<Item = Event>) -> Self {
        let backend = |family| IptablesBackend::new(family, fake(), Options::default());
        Self(Process::start(config, events, backend))
    }

    /// The process dies and another one starts, knowing the same objects.
    fn restart(mut self) -> Self {
        let mut fakes = PerFamily::from_fn(|family| self.fake(family));
        self.0.restart(|family| {
            IptablesBackend::new(family, std::mem::take(&mut fakes[family]), Options::default())
        });
        self
    }

    fn fake(&mut self, family: IpFamily) -> Fake {
        self.backend(family).tables().clone()
    }

    fn each_kernel(&mut self, change: impl Fn(&mut kernel::Kernel)) {
        for family in IpFamily::ALL {
            change(&mut self.fake(family).kernel());
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

//! A node that the backend serves, inside this process.

use portolan_backend_iptables::IptablesBackend;
use portolan_backend_iptables::options::Options;
use portolan_backend_iptables::programs::{Programs, Variant};
use portolan_backend_iptables::tables::Tables;
use portolan_backend_iptables::watched::Watched;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, IpFamily, ProxyBackend};
use portolan_testkit::netns::Namespace;
use portolan_testkit::upstream::Xtables;
use portolan_testkit::{Process, block_on};

/// A network namespace, and the process that serves the node in it.
pub(crate) struct Node<T> {
    pub(crate) namespace: Namespace,
    variant: Variant,
    process: Process<IptablesBackend<T>>,
}

impl Node<Watched> {
    pub(crate) fn new(namespace: &Namespace, variant: Variant, config: NodeConfig) -> Self {
        Self::with(namespace, variant, config, options(), Watched::new)
    }
}

/// As the scenario table has it: loopback addresses do not answer.
pub(crate) fn options() -> Options {
    Options { localhost_node_ports: false, ..Options::default() }
}

impl<T: Tables> Node<T> {
    /// A node whose tables are kept by something around the programs.
    pub(crate) fn with(
        namespace: &Namespace,
        variant: Variant,
        config: NodeConfig,
        options: Options,
        around: impl Fn(Programs) -> T + Sync,
    ) -> Self {
        let backend = |family| {
            let programs = Programs::of_variant(family, variant).unwrap();
            IptablesBackend::new(family, namespace.run(|| around(programs)).unwrap(), options)
        };
        let process = Process::start(config, [], backend);
        Self { namespace: namespace.clone(), variant, process }
    }

    pub(crate) fn handle(&mut self, events: impl IntoIterator<Item = Event>) {
        self.process.handle(events);
    }

    /// Takes events in and makes the node follow them; returns how many operations that took.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        self.handle(events);
        IpFamily::ALL.map(|family| self.try_apply(family).unwrap().operations).iter().sum()
    }

    /// Programs run in the namespace of the thread that starts them.
    pub(crate) fn try_apply(&mut self, family: IpFamily) -> Result<ApplyReport, BackendError> {
        let Self { namespace, process, .. } = self;
        namespace.run(|| process.try_apply(family)).unwrap()
    }

    /// Forgets what was applied, as after a failure or a start: everything is compared.
    pub(crate) fn forget(&mut self) {
        self.process.forget_applied();
    }

    pub(crate) fn is_intact(&mut self) -> bool {
        let Self { namespace, process, .. } = self;
        let is_intact = |family| block_on(process.backend(family).is_intact()).unwrap();
        namespace.run(|| IpFamily::ALL.into_iter().all(is_intact)).unwrap()
    }

    pub(crate) fn backend(&mut self, family: IpFamily) -> &mut IptablesBackend<T> {
        self.process.backend(family)
    }

    pub(crate) fn clean(&mut self) {
        let Self { namespace, process, .. } = self;
        let clean = |family| block_on(process.backend(family).cleanup()).unwrap();
        namespace.run(|| IpFamily::ALL.into_iter().for_each(clean)).unwrap();
        self.forget();
    }

    /// What `iptables-save` prints, without counters.
    pub(crate) fn saved(&self, family: IpFamily) -> String {
        let variant = self.variant;
        self.namespace.run(|| saved(variant, family)).unwrap()
    }

    /// Asserts what must hold whatever the objects are: neither the same plan nor a restart writes anything.
    #[track_caller]
    pub(crate) fn assert_sound(&mut self) {
        assert_eq!(self.apply([]), 0, "the same plan once more");
        self.forget();
        assert_eq!(self.apply([]), 0, "a complete comparison of the same plan");
        assert!(self.is_intact());
    }
}

pub(crate) fn xtables(variant: Variant) -> Xtables {
    match variant {
        Variant::Nft => Xtables::Nft,
        Variant::Legacy => Xtables::Legacy,
    }
}

/// What `iptables-save` prints where the thread is, without counters.
pub(crate) fn saved(variant: Variant, family: IpFamily) -> String {
    let saved = xtables(variant).save(family).unwrap();
    saved.lines().map(without_counters).collect()
}

/// `[7:420] -A …` is a rule with its counters, `:INPUT ACCEPT [7:420]` a chain with its own.
fn without_counters(line: &str) -> String {
    let line = match line.split_once("] ") {
        Some((counters, rule)) if counters.starts_with('[') => rule,
        _ => line,
    };
    let chain = line.starts_with(':').then(|| line.rsplit_once(' ')).flatten();
    format!("{}\n", chain.map_or(line, |(chain, _)| chain))
}

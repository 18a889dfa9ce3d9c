//! A node that the backend serves, inside this process.

use portolan_backend_iptables::IptablesBackend;
use portolan_backend_iptables::options::Options;
use portolan_backend_iptables::programs::{Programs, Variant};
use portolan_backend_iptables::tables::Tables;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{ApplyReport, BackendError, IpFamily, ProxyBackend, State};
use portolan_testkit::block_on;
use portolan_testkit::netns::Namespace;
use portolan_testkit::objects::empty_lists;
use portolan_testkit::upstream::Xtables;

/// A network namespace, what the node in it is to serve, and what makes it do so.
pub(crate) struct Node<T> {
    pub(crate) namespace: Namespace,
    pub(crate) state: State,
    variant: Variant,
    backends: Vec<(IpFamily, IptablesBackend<T>)>,
}

impl Node<Programs> {
    pub(crate) fn new(namespace: &Namespace, variant: Variant, config: NodeConfig) -> Self {
        Self::with(namespace, variant, config, options(), |programs| programs)
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
        around: impl Fn(Programs) -> T,
    ) -> Self {
        let mut state = State::new(config);
        for event in empty_lists() {
            state.handle(event);
        }
        let backends = backends(variant, options, around);
        Self { namespace: namespace.clone(), state, variant, backends }
    }

    pub(crate) fn handle(&mut self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.state.handle(event));
        self.state.prepare();
    }

    /// Takes events in and makes the node follow them; returns how many operations that took.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        self.handle(events);
        IpFamily::ALL.map(|family| self.try_apply(family).unwrap().operations).iter().sum()
    }

    pub(crate) fn try_apply(&mut self, family: IpFamily) -> Result<ApplyReport, BackendError> {
        let (plan, changes) = (self.state.plan(family), self.state.changes(family));
        let (_, backend) = self.backends.iter_mut().find(|(f, _)| *f == family).unwrap();
        // Programs run in the namespace of the thread that starts them.
        let report = self.namespace.run(|| block_on(backend.apply(plan, changes))).unwrap()?;
        self.state.committed(family);
        Ok(report)
    }

    /// Forgets what was applied, as after a failure or a start: everything is compared.
    pub(crate) fn forget(&mut self) {
        for family in IpFamily::ALL {
            self.state.forget_applied(family);
        }
    }

    pub(crate) fn is_intact(&mut self) -> bool {
        let namespace = self.namespace.clone();
        self.backends
            .iter_mut()
            .all(|(_, backend)| namespace.run(|| block_on(backend.is_intact())).unwrap().unwrap())
    }

    pub(crate) fn clean(&mut self) {
        for (_, backend) in &mut self.backends {
            self.namespace.run(|| block_on(backend.cleanup())).unwrap().unwrap();
        }
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

fn backends<T: Tables>(
    variant: Variant,
    options: Options,
    around: impl Fn(Programs) -> T,
) -> Vec<(IpFamily, IptablesBackend<T>)> {
    let backend = |family| {
        let programs = Programs::of_variant(family, variant).unwrap();
        (family, IptablesBackend::new(family, around(programs), options))
    };
    IpFamily::ALL.map(backend).into()
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

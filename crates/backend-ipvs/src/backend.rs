//! Makes the kernel follow plans of one family.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portolan_core::backend::Scope;
use portolan_core::plan::{NodePlan, NodeSettings, ServicePort};
use portolan_core::{ApplyReport, BackendError, ChangeSet, IpFamily, ProxyBackend, ProxyMode};
use portolan_ipvs::{Sent, ServerChange};
use portolan_leftovers::Part;

use crate::Options;
use crate::adopt;
use crate::changes::{Change, Changes};
use crate::kernel::{Kernel, KernelError};
use crate::rules::{self, Written};
use crate::state::{Loaded, Turn};
use crate::surroundings::{HostAddresses, own_servers};
use crate::wanted::Wanted;

/// Tells the time: the system's, or a test's.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The ipvs mode of one family.
pub struct IpvsBackend<K> {
    family: IpFamily,
    options: Options,
    kernel: K,
    clock: Clock,
    /// What the kernel has, if that is known.
    loaded: Option<Loaded>,
}

impl<K: Kernel> IpvsBackend<K> {
    /// A backend that knows nothing of the kernel's state yet.
    pub fn new(family: IpFamily, options: Options, kernel: K) -> Self {
        Self { family, options, kernel, clock: Arc::new(Instant::now), loaded: None }
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The kernel, for tests to look into.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Compares the whole plan with what the kernel has. Rules come between the sets that they ask and the
    /// servers that need them.
    fn load(&mut self, plan: &NodePlan, rules: (String, Written)) -> Result<ApplyReport, KernelError> {
        let now = (self.clock)();
        let mut report = ApplyReport { scope: Scope::Full, ..ApplyReport::default() };
        report.operations += self.kernel.prepare()?;
        let (mut loaded, mut changes) = adopt::compare(plan, &self.options, &mut self.kernel, now)?;
        loaded.rules = rules;
        self.carry_out(&changes.take_members_in(), &mut report)?;
        self.write_rules(&mut loaded, &plan.node, &mut report)?;
        self.carry_out(&changes.in_order(), &mut report)?;
        report.follow_up = loaded.graceful.next_look(now);
        self.loaded = Some(loaded);
        Ok(report)
    }

    /// Brings what the change set names up to date.
    fn update(
        &mut self,
        mut loaded: Loaded,
        plan: &NodePlan,
        changes: &ChangeSet,
    ) -> Result<ApplyReport, KernelError> {
        let now = (self.clock)();
        let mut report = ApplyReport::default();
        let mut turn = Turn::default();
        let mut todo = Changes::new(self.family);
        for (name, old) in changes.service_ports() {
            if let Some(old) = old {
                turn.had(Wanted::of(name, old, &loaded.here), &mut loaded);
            }
            if let Some(new) = plan.service_ports.get(name) {
                turn.wants(Wanted::of(name, new, &loaded.here), &mut loaded);
            }
        }
        turn.finish(&mut loaded, &mut todo, now);
        self.look_at_retired(&mut loaded, &mut todo, now)?;
        // They follow from the node's settings alone; that others changed them is found by looking, now and then.
        if changes.old_node().is_some() {
            let rules = rules::input(&rules::tables(self.family, &plan.node), |_, _| true);
            if loaded.rules.0 != rules {
                self.write_rules(&mut loaded, &plan.node, &mut report)?;
            }
        }
        self.carry_out(&todo.in_order(), &mut report)?;
        report.follow_up = loaded.graceful.next_look(now);
        self.loaded = Some(loaded);
        Ok(report)
    }

    /// Removes endpoints whose last connection has ended.
    fn look_at_retired(
        &mut self,
        loaded: &mut Loaded,
        changes: &mut Changes,
        now: Instant,
    ) -> Result<(), KernelError> {
        for server in loaded.graceful.due(now) {
            let seen = self.kernel.destinations(&server)?;
            for endpoint in loaded.graceful.looked(&server, &seen, now) {
                changes.server(ServerChange::RemoveDestination(server, endpoint));
            }
        }
        Ok(())
    }

    /// Loads the rules unless they are as they were left, and remembers how the program prints them.
    fn write_rules(
        &mut self,
        loaded: &mut Loaded,
        node: &NodeSettings,
        report: &mut ApplyReport,
    ) -> Result<(), KernelError> {
        let tables = rules::tables(self.family, node);
        let wanted = rules::input(&tables, |_, _| true);
        let present = read_rules(&mut self.kernel, &tables)?;
        if loaded.rules == (wanted.clone(), present.clone()) {
            return Ok(());
        }
        let input = rules::input(&tables, |table, jump| present.has(table, jump));
        let began = Instant::now();
        self.kernel.load_rules(&input)?;
        report.longest_transaction = report.longest_transaction.max(began.elapsed());
        let lines = input.lines().count();
        report.operations += lines;
        report.messages += lines;
        report.bytes += input.len();
        report.transactions += 1;
        loaded.rules = (wanted, read_rules(&mut self.kernel, &tables)?);
        Ok(())
    }

    fn carry_out(&mut self, changes: &[Change], report: &mut ApplyReport) -> Result<(), KernelError> {
        if changes.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let Sent { messages, bytes, calls } = self.kernel.carry_out(changes)?;
        report.longest_transaction = report.longest_transaction.max(longest(began.elapsed(), calls));
        report.operations += changes.len();
        report.messages += messages;
        report.bytes += bytes;
        report.transactions += calls;
        Ok(())
    }

    fn try_apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, KernelError> {
        // Taken out, so that after a failure nothing is believed of the kernel.
        match self.loaded.take() {
            None => self.load(plan, (String::new(), Written::default())),
            Some(loaded) if changes.is_complete() || touches_node(&loaded, plan, changes) => {
                self.load(plan, loaded.rules)
            }
            Some(loaded) => match changes.old_node() {
                Some(old) if old.node_port_addresses != plan.node.node_port_addresses => {
                    self.load(plan, loaded.rules)
                }
                _ => self.update(loaded, plan, changes),
            },
        }
    }

    /// Whether everything that others might remove at once is there, and the node has the addresses that it had.
    fn look(&mut self, loaded: &Loaded) -> Result<bool, KernelError> {
        let HostAddresses { on_device, elsewhere } = self.kernel.addresses()?;
        let has_addresses =
            on_device.len() == loaded.addresses.len() && on_device.iter().all(|ip| loaded.addresses.has(ip));
        if !has_addresses || elsewhere != loaded.here.elsewhere {
            return Ok(false);
        }
        if let Some(sample) = &loaded.sample
            && !self.kernel.has_server(sample)?
        {
            return Ok(false);
        }
        // Which chains are looked for does not depend on the settings.
        let settings = NodeSettings {
            local_detector: None,
            masquerade_all: false,
            masquerade_mark: 0,
            node_port_addresses: portolan_core::plan::NodePortAddresses::All,
            service_cidrs: Vec::new(),
        };
        let tables = rules::tables(self.family, &settings);
        Ok(read_rules(&mut self.kernel, &tables)? == loaded.rules.1)
    }
}

/// Whether somebody else may have to get or give up an address of the node itself, which is decided by looking
/// at all.
fn touches_node(loaded: &Loaded, plan: &NodePlan, changes: &ChangeSet) -> bool {
    changes.service_ports().any(|(name, old)| {
        let own = |port: &Arc<ServicePort>| own_servers(name, port, &loaded.here);
        let new = plan.service_ports.get(name).map(own).unwrap_or_default();
        old.map(own).unwrap_or_default() != new
    })
}

fn read_rules(kernel: &mut impl Kernel, tables: &[rules::Table]) -> Result<Written, KernelError> {
    let mut reader = Written::reader(tables);
    kernel.saved_rules(&mut |line| reader.line(line))?;
    Ok(reader.finish())
}

/// The kernel lets others in after each call, all of which take about as long.
fn longest(elapsed: Duration, calls: usize) -> Duration {
    elapsed / u32::try_from(calls.max(1)).unwrap_or(u32::MAX)
}

#[async_trait]
impl<K: Kernel> ProxyBackend for IpvsBackend<K> {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPVS
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        Ok(self.try_apply(plan, changes)?)
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        let Some(loaded) = self.loaded.take() else { return Ok(true) };
        let result = self.look(&loaded);
        self.loaded = Some(loaded);
        Ok(result?)
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.loaded = None;
        remove_all(self.family)
    }
}

/// Removes all that the mode may have in one family, by name.
pub(crate) fn remove_all(family: IpFamily) -> Result<(), BackendError> {
    let outcomes = portolan_leftovers::remove(&[Part::Iptables, Part::Ipvs], &[family]);
    let first = outcomes.into_iter().find_map(|outcome| outcome.result.err());
    first.map_or(Ok(()), |error| {
        let action = format!("remove what the ipvs mode has in {family}");
        Err(BackendError::Refused { action, source: Box::new(error) })
    })
}

impl<K> std::fmt::Debug for IpvsBackend<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IpvsBackend").field("family", &self.family).finish_non_exhaustive()
    }
}

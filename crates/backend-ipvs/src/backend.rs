//! Makes the kernel follow plans of one family.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use portolan_backend_iptables::metrics::RESTORE_FAILURES;
use portolan_core::backend::{Metric, Scope};
use portolan_core::plan::{NodePlan, NodeSettings};
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, ProxyBackend, ProxyMode, ServicePortName,
};
use portolan_ipvs::{Carried, IpvsError, Sent, ServerChange};
use portolan_leftovers::Part;

use crate::Options;
use crate::adopt;
use crate::changes::{Change, Changes};
use crate::kernel::{Kernel, KernelError};
use crate::rules::{self, Reader, Rules, Written};
use crate::state::{Loaded, Turn};
use crate::surroundings::HostAddresses;
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

/// What one apply has come to so far.
struct Round {
    report: ApplyReport,
    /// What the kernel refused, while it carried out everything else.
    refused: Vec<(Change, IpvsError)>,
}

impl Round {
    fn new(scope: Scope) -> Self {
        Self { report: ApplyReport { scope, ..ApplyReport::default() }, refused: Vec::new() }
    }
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

    /// What the kernel refuses of what service ports need, as it was logged; nothing if it has all of it.
    pub fn refusal(&self) -> Option<&str> {
        self.loaded.as_ref()?.refusals.text()
    }

    /// The kernel, for tests to look into.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Compares the whole plan with what the kernel has.
    ///
    /// Rules come between the sets that they ask and the servers that need them. But where another mode's rules
    /// lead connections to endpoints they go on doing so until the servers are ready.
    fn load(&mut self, plan: &NodePlan, before: Option<&Loaded>) -> Result<ApplyReport, KernelError> {
        let now = (self.clock)();
        let mut round = Round::new(Scope::Full);
        round.report.operations += self.kernel.prepare()?;
        let (mut loaded, mut changes) = adopt::compare(plan, &self.options, &mut self.kernel, before, now)?;
        loaded.refusals = before.map(|before| before.refusals.clone()).unwrap_or_default();
        let is_known = |unbound: &&_| before.is_some_and(|before| before.unbound.contains(*unbound));
        tell_unbound(loaded.unbound.iter().filter(|unbound| !is_known(unbound)));
        self.fit_sets(&mut loaded, &mut round);
        let present = read_rules(&mut self.kernel)?;
        let first = if present.translates() { changes.take_additions() } else { changes.take_members_in() };
        self.carry_out(&first, &mut round)?;
        loaded.rules =
            self.write_rules(&plan.node, present, before.map(|before| &before.rules), &mut round)?;
        self.carry_out(&changes.in_order(), &mut round)?;
        self.end(loaded, plan, round, now)
    }

    /// Brings what the change set names up to date.
    fn update(
        &mut self,
        mut loaded: Loaded,
        plan: &NodePlan,
        changes: &ChangeSet,
    ) -> Result<ApplyReport, KernelError> {
        let now = (self.clock)();
        let mut round = Round::new(Scope::Partial);
        let mut turn = Turn::default();
        let mut todo = Changes::new(self.family);
        let (mut unbound, mut unbound_before) = (Vec::new(), HashSet::new());
        for (name, old) in changes.service_ports() {
            let named = |ip: &IpAddr| (name.clone(), *ip);
            if let Some(old) = old {
                let wanted = Wanted::of(name, old, &loaded.here);
                unbound_before.extend(wanted.unbound.iter().map(named));
                turn.had(wanted, &mut loaded);
            }
            if let Some(new) = plan.service_ports.get(name) {
                let wanted = Wanted::of(name, new, &loaded.here);
                unbound.extend(wanted.unbound.iter().map(named));
                turn.wants(wanted, &mut loaded);
            }
        }
        tell_unbound(unbound.iter().filter(|unbound| !unbound_before.contains(*unbound)));
        for gone in &unbound_before {
            loaded.unbound.remove(gone);
        }
        loaded.unbound.extend(unbound);
        turn.finish(&mut loaded, &mut todo, now);
        self.look_at_retired(&mut loaded, &mut todo, now)?;
        // They follow from the node's settings alone; that others changed them is found by looking, now and then.
        if changes.old_node().is_some() && loaded.rules.wanted != self.wanted_rules(&plan.node) {
            let present = read_rules(&mut self.kernel)?;
            loaded.rules = self.write_rules(&plan.node, present, Some(&loaded.rules), &mut round)?;
        }
        self.fit_sets(&mut loaded, &mut round);
        self.carry_out(&todo.in_order(), &mut round)?;
        self.end(loaded, plan, round, now)
    }

    /// Remembers what the kernel now has, and says when to look again.
    fn end(
        &mut self,
        mut loaded: Loaded,
        plan: &NodePlan,
        round: Round,
        now: Instant,
    ) -> Result<ApplyReport, KernelError> {
        let Round { mut report, refused } = round;
        let unwanted = loaded.refusals.note(refused, (plan, &loaded.here), report.scope, now)?;
        report.failed_removals += unwanted;
        let looks = [loaded.graceful.next_look(now), loaded.refusals.next_try(now)];
        report.follow_up = looks.into_iter().flatten().min();
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

    fn wanted_rules(&self, node: &NodeSettings) -> String {
        rules::input(&rules::tables(self.family, node), &Written::default())
    }

    /// Loads the rules unless those that are there are the same, or were `known` to be printed like this.
    fn write_rules(
        &mut self,
        node: &NodeSettings,
        present: Written,
        known: Option<&Rules>,
        round: &mut Round,
    ) -> Result<Rules, KernelError> {
        let tables = rules::tables(self.family, node);
        let there = Rules { wanted: rules::input(&tables, &Written::default()), printed: present };
        if there.printed.is(&tables) || known == Some(&there) {
            return Ok(there);
        }
        let input = rules::input(&tables, &there.printed);
        let began = Instant::now();
        self.kernel.load_rules(&input)?;
        let lines = input.lines().count();
        let report = &mut round.report;
        report.longest_transaction = report.longest_transaction.max(began.elapsed());
        report.operations += lines;
        report.messages += lines;
        report.bytes += input.len();
        report.transactions += 1;
        Ok(Rules { wanted: there.wanted, printed: read_rules(&mut self.kernel)? })
    }

    /// Gives sets the room that they need for what is about to come.
    ///
    /// Where that fails the kernel refuses what finds none, by name, and all else goes on.
    fn fit_sets(&mut self, loaded: &mut Loaded, round: &mut Round) {
        for (set, room) in loaded.fill.unfit() {
            match self.kernel.fit(set, room) {
                Ok(was_replaced) => round.report.operations += usize::from(was_replaced),
                Err(error) => {
                    let (set, most) = (set.name(self.family), room.most());
                    let error = portolan_core::backend::error_chain(&error);
                    tracing::warn!(error, set, most, "the room of an address set was not changed");
                }
            }
        }
    }

    fn carry_out(&mut self, changes: &[Change], round: &mut Round) -> Result<(), KernelError> {
        if changes.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let Carried { sent: Sent { messages, bytes, calls }, refused } = self.kernel.carry_out(changes)?;
        // The kernel lets others in after each call, all of which take about as long.
        let each = began.elapsed() / u32::try_from(calls.max(1)).unwrap_or(u32::MAX);
        let report = &mut round.report;
        report.longest_transaction = report.longest_transaction.max(each);
        report.operations += changes.len();
        report.messages += messages;
        report.bytes += bytes;
        report.transactions += calls;
        let of = |place: usize| changes.get(place).cloned();
        round.refused.extend(refused.into_iter().filter_map(|(place, why)| Some((of(place)?, why))));
        Ok(())
    }

    fn try_apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, KernelError> {
        // Taken out, so that after a failure nothing is believed of the kernel.
        let Some(loaded) = self.loaded.take() else { return self.load(plan, None) };
        let addresses_move = |old: &NodeSettings| {
            old.node_port_addresses != plan.node.node_port_addresses || old.api_server != plan.node.api_server
        };
        let is_load = changes.is_complete()
            || changes.old_node().is_some_and(addresses_move)
            || loaded.own_servers_move(plan, changes)
            || loaded.refusals.are_due((self.clock)())
            || self.has_moved(&loaded)?;
        if is_load { self.load(plan, Some(&loaded)) } else { self.update(loaded, plan, changes) }
    }

    /// Whether the node's own addresses are others than they were.
    fn has_moved(&mut self, loaded: &Loaded) -> Result<bool, KernelError> {
        Ok(self.kernel.addresses_changed()? && self.kernel.addresses()?.elsewhere != loaded.here.elsewhere)
    }

    /// Whether everything that others might remove at once is there, and the node has the addresses that it had.
    fn look(&mut self, loaded: &Loaded) -> Result<bool, KernelError> {
        let HostAddresses { on_device, elsewhere } = self.kernel.addresses()?;
        let is_known = |ip: &IpAddr| loaded.refusals.concern_address(ip);
        let has_addresses = on_device.iter().all(|ip| loaded.addresses.has(ip) || is_known(ip))
            && loaded.addresses.iter().all(|ip| on_device.contains(ip) || is_known(ip));
        if !has_addresses || elsewhere != loaded.here.elsewhere {
            return Ok(false);
        }
        if let Some(sample) = &loaded.sample
            && !loaded.refusals.concern_server(sample)
            && !self.kernel.has_server(sample)?
        {
            return Ok(false);
        }
        Ok(read_rules(&mut self.kernel)? == loaded.rules.printed)
    }
}

/// How many of them are named at a time.
const MOST_NAMED: usize = 20;

/// Names service ports whose address is the API server's, and is left to it.
fn tell_unbound<'a>(unbound: impl Iterator<Item = &'a (ServicePortName, IpAddr)>) {
    let mut unbound: Vec<_> = unbound.collect();
    unbound.sort_unstable();
    for (service_port, address) in unbound.iter().take(MOST_NAMED) {
        tracing::warn!(
            servicePort = %service_port,
            %address,
            "Address is not bound to kube-ipvs0: it is the API server's"
        );
    }
    if let Some(others @ 1..) = unbound.len().checked_sub(MOST_NAMED) {
        tracing::warn!(
            servicePorts = others,
            "More addresses of service ports are the API server's and are not bound"
        );
    }
}

fn read_rules(kernel: &mut impl Kernel) -> Result<Written, KernelError> {
    let mut reader = Reader::default();
    kernel.saved_rules(&mut |line| reader.line(line))?;
    Ok(reader.finish())
}

#[async_trait]
impl<K: Kernel> ProxyBackend for IpvsBackend<K> {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPVS
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        // Shown from the first attempt on, so that the first failure is an increase.
        let failures = Metric::increment(RESTORE_FAILURES, 0);
        match self.try_apply(plan, changes) {
            Ok(mut report) => {
                report.metrics.push(failures);
                Ok(report)
            }
            Err(error) => Err(BackendError::from(error).with_metrics([failures])),
        }
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
        Err(BackendError::refused(action, error))
    })
}

impl<K> std::fmt::Debug for IpvsBackend<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IpvsBackend").field("family", &self.family).finish_non_exhaustive()
    }
}

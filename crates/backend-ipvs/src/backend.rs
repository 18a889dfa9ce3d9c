//! Programs the plans of one family into the kernel.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use portolan_core::backend::{Metric, Scope};
use portolan_core::plan::{NodePlan, NodeSettings};
use portolan_core::{ApplyReport, BackendError, ChangeSet, IpFamily, ProxyBackend, ProxyMode};
use portolan_iptables::RESTORE_FAILURES;
use portolan_ipvs::{Carried, IpvsError, Sent, ServerChange};

use crate::Options;
use crate::adopt;
use crate::changes::{Change, Changes};
use crate::kernel::{Kernel, KernelError};
use crate::node_context::HostAddresses;
use crate::rules::{self, Reader, Rules, Table, Written};
use crate::stale;
use crate::state::{Programmed, Update};

/// The current time: the system's, or a test's.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The ipvs mode of one family.
pub struct IpvsBackend<K> {
    family: IpFamily,
    options: Options,
    kernel: K,
    clock: Clock,
    /// What is programmed; unknown at first and after any failure.
    programmed: Option<Programmed>,
}

/// An apply in progress.
struct Round {
    report: ApplyReport,
    /// Changes that the kernel rejected, while it made all others.
    rejected: Vec<(Change, IpvsError)>,
}

impl Round {
    fn new(scope: Scope) -> Self {
        Self { report: ApplyReport { scope, ..ApplyReport::default() }, rejected: Vec::new() }
    }
}

impl<K: Kernel> IpvsBackend<K> {
    /// A backend that has not read the kernel's state yet.
    pub fn new(family: IpFamily, options: Options, kernel: K) -> Self {
        Self { family, options, kernel, clock: Arc::new(Instant::now), programmed: None }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The log text about changes that the kernel rejected; nothing if there are none.
    pub fn refusal(&self) -> Option<&str> {
        self.programmed.as_ref()?.rejections.text()
    }

    /// The kernel, for tests.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Compares the whole plan with what the kernel has.
    ///
    /// Rules are written after the sets that they match, and before the virtual servers that need them. But if rules of
    /// another mode send connections to endpoints, they are replaced only after the virtual servers exist.
    fn full_sync(
        &mut self,
        plan: &NodePlan,
        before: Option<&Programmed>,
    ) -> Result<ApplyReport, KernelError> {
        let now = (self.clock)();
        let mut round = Round::new(Scope::Full);
        round.report.operations += self.kernel.prepare()?;
        let update = adopt::compare(plan, &self.options, &mut self.kernel, before, now)?;
        let Update { mut programmed, mut changes, .. } = update;
        programmed.rejections = before.map(|before| before.rejections.clone()).unwrap_or_default();
        self.fit_sets(&mut programmed, &mut round);
        let tables = rules::tables(self.family, &plan.node);
        let present = read_rules(&mut self.kernel, &tables)?;
        let first =
            if present.translates() { changes.take_additions() } else { changes.take_added_members() };
        self.carry_out(&first, &mut round)?;
        programmed.rules =
            self.write_rules(tables, present, before.map(|before| &before.rules), &mut round)?;
        self.carry_out(&changes.in_order(), &mut round)?;
        self.finish(programmed, plan, round, now)
    }

    /// Applies the change set.
    fn update(
        &mut self,
        programmed: Programmed,
        plan: &NodePlan,
        changes: &ChangeSet,
    ) -> Result<ApplyReport, KernelError> {
        let now = (self.clock)();
        let mut round = Round::new(Scope::Partial);
        let update = Update::of(programmed, plan, changes, now);
        let Update { mut programmed, changes: mut todo, .. } = update;
        self.check_retired(&mut programmed, &mut todo, now)?;
        // They depend on the node's settings alone; the integrity check finds changes of other processes.
        if changes.old_node().is_some() {
            let tables = rules::tables(self.family, &plan.node);
            if tables != programmed.rules.tables {
                let present = read_rules(&mut self.kernel, &tables)?;
                programmed.rules = self.write_rules(tables, present, Some(&programmed.rules), &mut round)?;
            }
        }
        self.fit_sets(&mut programmed, &mut round);
        self.carry_out(&todo.in_order(), &mut round)?;
        self.finish(programmed, plan, round, now)
    }

    /// Records what is programmed now, and when the next apply is due.
    fn finish(
        &mut self,
        mut programmed: Programmed,
        plan: &NodePlan,
        round: Round,
        now: Instant,
    ) -> Result<ApplyReport, KernelError> {
        let Round { mut report, rejected } = round;
        let unwanted =
            programmed.rejections.note(rejected, (plan, &programmed.context), report.scope, now)?;
        report.failed_removals += unwanted;
        let checks = [programmed.graceful.next_check(now), programmed.rejections.next_try(now)];
        report.follow_up = checks.into_iter().flatten().min();
        self.programmed = Some(programmed);
        Ok(report)
    }

    /// Removes endpoints whose last connection has ended.
    fn check_retired(
        &mut self,
        programmed: &mut Programmed,
        changes: &mut Changes,
        now: Instant,
    ) -> Result<(), KernelError> {
        for server in programmed.graceful.due(now) {
            let seen = self.kernel.destinations(&server)?;
            for endpoint in programmed.graceful.checked(&server, &seen, now) {
                changes.server(ServerChange::RemoveDestination(server, endpoint));
            }
        }
        Ok(())
    }

    /// Loads the rules unless those `present` are equal, or equal the output after these were loaded, which is `known`.
    fn write_rules(
        &mut self,
        tables: Vec<Table>,
        present: Written,
        known: Option<&Rules>,
        round: &mut Round,
    ) -> Result<Rules, KernelError> {
        let there = Rules { tables, printed: present };
        if there.printed.is(&there.tables) || known == Some(&there) {
            return Ok(there);
        }
        let input = rules::input(&there.tables, &there.printed);
        let began = Instant::now();
        self.kernel.load_rules(&input)?;
        let lines = input.lines().count();
        let report = &mut round.report;
        report.longest_transaction = report.longest_transaction.max(began.elapsed());
        report.operations += lines;
        report.messages += lines;
        report.bytes += input.len();
        report.transactions += 1;
        let printed = read_rules(&mut self.kernel, &there.tables)?;
        Ok(Rules { printed, ..there })
    }

    /// Gives sets the capacity that they need for the coming changes.
    ///
    /// If that fails, the kernel rejects the elements that exceed it, by name, and all others are added.
    fn fit_sets(&mut self, programmed: &mut Programmed, round: &mut Round) {
        for (set, capacity) in programmed.sizes.unfit() {
            match self.kernel.fit(set, capacity) {
                Ok(was_replaced) => round.report.operations += usize::from(was_replaced),
                Err(error) => {
                    let (set, most) = (set.name(self.family), capacity.most());
                    let err = portolan_core::backend::error_chain(&error);
                    tracing::warn!(err, set, maxElements = most, "Failed to resize address set");
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
        // The kernel serves other processes between calls, each of which takes about as long.
        let each = began.elapsed() / u32::try_from(calls.max(1)).unwrap_or(u32::MAX);
        let report = &mut round.report;
        report.longest_transaction = report.longest_transaction.max(each);
        report.operations += changes.len();
        report.messages += messages;
        report.bytes += bytes;
        report.transactions += calls;
        let of = |place: usize| changes.get(place).cloned();
        round.rejected.extend(refused.into_iter().filter_map(|(place, why)| Some((of(place)?, why))));
        Ok(())
    }

    fn try_apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, KernelError> {
        // Taken out, so that after a failure everything is compared.
        let Some(programmed) = self.programmed.take() else { return self.full_sync(plan, None) };
        let addresses_move = |old: &NodeSettings| {
            old.node_port_addresses != plan.node.node_port_addresses || old.api_server != plan.node.api_server
        };
        let is_full = changes.is_complete()
            || changes.old_node().is_some_and(addresses_move)
            || programmed.own_servers_move(plan, changes)
            || programmed.rejections.are_due((self.clock)())
            || self.addresses_moved(&programmed)?;
        if is_full { self.full_sync(plan, Some(&programmed)) } else { self.update(programmed, plan, changes) }
    }

    /// Whether the node's own addresses are others than they were.
    fn addresses_moved(&mut self, programmed: &Programmed) -> Result<bool, KernelError> {
        Ok(self.kernel.addresses_changed()?
            && self.kernel.addresses()?.elsewhere != programmed.context.elsewhere)
    }

    /// Integrity check: whether everything that other processes might remove at once exists, and the node has the
    /// addresses that it had.
    fn check(&mut self, programmed: &Programmed) -> Result<bool, KernelError> {
        let HostAddresses { on_device, elsewhere } = self.kernel.addresses()?;
        let is_known = |ip: &IpAddr| programmed.rejections.concern_address(ip);
        let has_addresses = on_device.symmetric_difference(&programmed.addresses()).all(is_known);
        if !has_addresses || elsewhere != programmed.context.elsewhere {
            return Ok(false);
        }
        if let Some(sample) = &programmed.sample
            && !programmed.rejections.concern_server(sample)
            && !self.kernel.has_server(sample)?
        {
            return Ok(false);
        }
        Ok(read_rules(&mut self.kernel, &programmed.rules.tables)? == programmed.rules.printed)
    }
}

fn read_rules(kernel: &mut impl Kernel, tables: &[Table]) -> Result<Written, KernelError> {
    let mut reader = Reader::new(tables);
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
        let Some(programmed) = self.programmed.take() else { return Ok(true) };
        let result = self.check(&programmed);
        self.programmed = Some(programmed);
        Ok(result?)
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.programmed = None;
        remove_all(self.family)
    }
}

/// Removes all that the mode may have in one family, by name.
pub(crate) fn remove_all(family: IpFamily) -> Result<(), BackendError> {
    let failures = stale::remove(None, family).failures;
    failures.into_iter().next().map_or(Ok(()), |failure| {
        let action = format!("remove the objects of the ipvs mode of {family}");
        Err(BackendError::refused(action, failure.error))
    })
}

impl<K> std::fmt::Debug for IpvsBackend<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IpvsBackend").field("family", &self.family).finish_non_exhaustive()
    }
}

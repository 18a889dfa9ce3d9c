//! The backend: full syncs, later changes, and failures.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use async_trait::async_trait;
use portolan_core::backend::{Metric, Scope};
use portolan_core::plan::NodeSettings;
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, IpFamily, NodePlan, ProxyBackend, ProxyMode, ServicePort,
};
use portolan_nft::{Commit, NftError, Operation, Owner, TableDump, Tables, Transaction};

use crate::class::Class;
use crate::commit::{Batches, MAX_ELEMENTS};
use crate::dedicated::{Dedicated, ProgrammedDedicated, Purge};
use crate::edits::Edits;
use crate::foreign_changes::ForeignChanges;
use crate::full_sync::{Finished, FullSync, Progress};
use crate::layout::Layout;
use crate::programmed::{Programmed, SlotLists};

mod tidy;

/// Class chains that nothing leads to are kept for the next Service that has their number
/// of endpoints; beyond this many they are removed.
const MAX_UNUSED_CLASSES: usize = 64;

/// The chain of the integrity check: deleting or flushing the table, or all tables, removes its only rule.
const INTEGRITY_CHAIN: &str = "nat-prerouting";

/// The current time: the system's, or a test's.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Keeps one family's table equal to the plan.
///
/// The families may share one [`Tables`], as they do in the kernel.
pub struct NftablesBackend<T> {
    tables: Arc<Mutex<T>>,
    layout: Layout,
    /// What is programmed; unknown at first and after any failure.
    programmed: Option<Programmed>,
    /// The most elements in one transaction.
    limit: usize,
    /// For the progress messages of a full sync.
    clock: Clock,
    /// Reports changes by other processes, where the kernel does not reject them.
    foreign_changes: Option<ForeignChanges>,
}

impl<T: Tables> NftablesBackend<T> {
    /// A backend that has not read the kernel's state yet.
    pub fn new(family: IpFamily, tables: Arc<Mutex<T>>) -> Self {
        let (layout, clock) = (Layout::new(family), Arc::new(Instant::now));
        Self { tables, layout, programmed: None, limit: MAX_ELEMENTS, clock, foreign_changes: None }
    }

    /// Adds and removes at most this many elements in one transaction, two at least.
    ///
    /// Larger changes are split into several, in an order in which every packet has an endpoint.
    #[must_use]
    pub fn with_transaction_limit(self, elements: usize) -> Self {
        Self { limit: elements, ..self }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    fn tables(&self) -> MutexGuard<'_, T> {
        // A panic leaves at worst an unfinished exchange with the kernel, which the socket
        // skips by sequence numbers.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The existing table, and whether the kernel supports an owner whose table persists.
    fn read(&self) -> Result<(Option<TableDump>, bool), BackendError> {
        let (mut tables, table) = (self.tables(), self.layout.table());
        let dump = tables.dump(&table).map_err(|error| unread(format!("table {table}"), error))?;
        let features = tables.features().map_err(|error| unread("what nf_tables offers".into(), error))?;
        Ok((dump, features.owner_persist))
    }

    /// Compares the whole plan with the existing table.
    fn full_sync(&mut self, plan: &NodePlan) -> Result<ApplyReport, BackendError> {
        let mut report = ApplyReport { scope: Scope::Full, ..ApplyReport::default() };
        let table = self.layout.table();
        let mut progress = Progress::new(plan.service_ports.len(), (self.clock)());
        if let Some(changes) = &mut self.foreign_changes {
            changes.begin_reading();
        }
        let (dump, owner_persist) = self.read()?;
        // From here on the known state may be outdated.
        self.programmed = None;
        reject_foreign_owner(dump.as_ref())?;
        progress.read(&table, dump.as_ref(), (self.clock)());
        let mut sync = FullSync::begin(&self.layout, self.limit, plan, dump, owner_persist);
        for (before, name) in plan.names_by_importance().into_iter().enumerate() {
            sync.add(name, &plan.service_ports[name]);
            let full = sync.full_batches();
            if !full.is_empty() {
                self.commit(full, &mut report)?;
                progress.committed(&table, before + 1, (self.clock)());
            }
        }
        let Finished { mut programmed, transactions, purges } = sync.finish();
        self.commit(transactions, &mut report)?;
        self.purge(&purges, &mut report)?;
        let unused = programmed.unused();
        self.sweep(&mut programmed, &unused, &mut report)?;
        self.programmed = Some(programmed);
        self.foreign_changes = match self.foreign_changes.take() {
            // Not during the first full sync: a notice of each element would take the kernel longer than the sync.
            None => ForeignChanges::of(&table, &mut *self.tables()),
            changes => changes,
        };
        Ok(report)
    }

    /// Applies a change set.
    fn update(
        &mut self,
        mut programmed: Programmed,
        plan: &NodePlan,
        changes: &ChangeSet,
    ) -> Result<ApplyReport, BackendError> {
        let mut report = ApplyReport::default();
        let is_sweep = programmed.unused_count() > MAX_UNUSED_CLASSES;
        let unused: HashSet<Class> =
            if is_sweep { programmed.unused() } else { Vec::new() }.into_iter().collect();
        let mut edits = Edits::default();
        let mut batches = Batches::new(&self.layout, self.limit);
        let mut dedicated = Vec::new();
        if let Some(old) = changes.old_node() {
            change_settings(&self.layout, old, &plan.node, &programmed, &mut batches);
        }
        let wanted = changes.service_ports().map(|(name, _)| (name, plan.service_ports.get(name)));
        programmed.change(wanted, &mut edits);
        for change in programmed.take_dedicated() {
            // The node's settings were changed above.
            let of = |programmed: Option<(Arc<ServicePort>, SlotLists)>| -> Option<Dedicated> {
                let (port, slots) = programmed?;
                Dedicated::of(&change.name, &port, &slots, &plan.node)
            };
            let edit = ProgrammedDedicated::of(of(change.old)).turn_into(of(change.new), &self.layout);
            dedicated.push(edit);
        }
        for class in programmed.take_new_classes() {
            batches.add_class(class, &plan.node);
        }
        programmed.features.create(&mut batches);
        batches.edits(&edits, &mut dedicated);
        for edit in &mut dedicated {
            batches.current().append(&mut edit.release);
        }
        programmed.features.remove_unused(&mut batches);
        let purges: Vec<Purge> = programmed.absorb(dedicated);
        self.commit(batches.finish(), &mut report)?;
        self.purge(&purges, &mut report)?;
        let still: Vec<Class> =
            programmed.unused().into_iter().filter(|class| unused.contains(class)).collect();
        self.sweep(&mut programmed, &still, &mut report)?;
        self.programmed = Some(programmed);
        if let Some(changes) = &mut self.foreign_changes {
            // So that our own notices do not fill the receive buffer.
            changes.listen();
        }
        Ok(report)
    }

    fn commit(&self, transactions: Vec<Transaction>, report: &mut ApplyReport) -> Result<(), BackendError> {
        for transaction in transactions {
            let commit = self.tables().commit(&transaction).map_err(rejected)?;
            account(report, &transaction, commit);
        }
        Ok(())
    }
}

#[async_trait]
impl<T: Tables> ProxyBackend for NftablesBackend<T> {
    fn mode(&self) -> ProxyMode {
        ProxyMode::NFTABLES
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        // Taken for a change, so that the state is unknown after a failure.
        let programmed = if changes.is_complete() { None } else { self.programmed.take() };
        let result = match programmed {
            Some(programmed) => self.update(programmed, plan, changes),
            None => self.full_sync(plan),
        };
        match result {
            Ok(mut report) => {
                report.metrics.push(Metric::increment(CLEANUP_FAILURES, report.failed_removals));
                Ok(report)
            }
            Err(error) => Err(error.with_metrics([Metric::increment(SYNC_FAILURES, 1)])),
        }
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        if self.foreign_changes.as_mut().is_some_and(ForeignChanges::is_damaged) {
            return Ok(false);
        }
        let table = self.layout.table();
        let rules = self.tables().count_rules(&table, INTEGRITY_CHAIN);
        let rules =
            rules.map_err(|error| unread(format!("chain {INTEGRITY_CHAIN} of table {table}"), error))?;
        Ok(rules.is_some_and(|rules| rules > 0))
    }

    fn poll_foreign_change(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.foreign_changes.as_mut().map_or(Poll::Pending, |changes| changes.poll_damaged(context))
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.programmed = None;
        let table = self.layout.table();
        let dump = self.tables().dump(&table).map_err(|error| unread(format!("table {table}"), error))?;
        if dump.is_none() {
            return Ok(());
        }
        reject_foreign_owner(dump.as_ref())?;
        let mut transaction = Transaction::new(table);
        transaction.delete_table();
        self.tables().commit(&transaction).map_err(rejected)?;
        Ok(())
    }
}

/// Rewrites what depends on the node's settings.
fn change_settings(
    layout: &Layout,
    old: &NodeSettings,
    new: &NodeSettings,
    programmed: &Programmed,
    batches: &mut Batches<'_>,
) {
    let before = layout.chains(old);
    for ((chain, rules), (_, old_rules)) in layout.chains(new).into_iter().zip(before) {
        if rules != old_rules {
            batches.rewrite_chain(&chain.name, rules);
        }
    }
    for class in programmed.classes() {
        let rules = class.rules(new);
        if rules != class.rules(old) {
            batches.rewrite_chain(&class.chain(), rules);
        }
    }
    for (name, port) in programmed.dedicated_ports() {
        // Their slots do not depend on the settings.
        let of = |settings| Dedicated::of(name, port, &SlotLists::default(), settings);
        let mut edit = ProgrammedDedicated::of(of(old)).turn_into(of(new), layout);
        batches.current().append(&mut edit.switch);
    }
    for ((set, old), (_, new)) in layout.ranges(old).into_iter().zip(layout.ranges(new)) {
        batches.refill(set, &old, new);
    }
}

fn account(report: &mut ApplyReport, transaction: &Transaction, commit: Commit) {
    let plain = |operation: &&Operation| operation.elements().is_none();
    let steps = transaction.operations().iter().filter(plain).count();
    report.operations += steps + transaction.element_count();
    report.transactions += 1;
    report.messages += commit.messages;
    report.bytes += commit.bytes;
    report.longest_transaction = report.longest_transaction.max(commit.kernel);
}

/// kube-proxy's names.
const SYNC_FAILURES: &str = "kubeproxy_sync_proxy_rules_nftables_sync_failures_total";
const CLEANUP_FAILURES: &str = "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total";

/// Another process owns the table as long as its socket is open.
#[derive(Debug, thiserror::Error)]
#[error("the table is owned by the process with netlink port {port}")]
struct ForeignOwner {
    port: u32,
}

fn reject_foreign_owner(dump: Option<&TableDump>) -> Result<(), BackendError> {
    match dump {
        Some(TableDump { id, owner: Owner::Other { port }, .. }) => {
            Err(BackendError::busy(format!("table {id}"), ForeignOwner { port: *port }))
        }
        _ => Ok(()),
    }
}

fn rejected(error: NftError) -> BackendError {
    BackendError::refused("change nftables", error)
}

fn unread(object: String, error: NftError) -> BackendError {
    BackendError::unread(object, error)
}

//! The backend itself: first loads, later changes, and what to do when the kernel says no.

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

use crate::affinity::Sticky;
use crate::class::Class;
use crate::commit::{Batches, MAX_ELEMENTS};
use crate::edits::Edits;
use crate::guard::Guard;
use crate::layout::Layout;
use crate::load::{Finished, Load, Progress};
use crate::loaded::{Loaded, SlotLists};
use crate::sticky::{Present, Purge};

mod tidy;

/// Class chains that nothing leads to are kept for the next Service that has their number
/// of endpoints; beyond this many they are removed.
const MAX_UNUSED_CLASSES: usize = 64;

/// The chain that shows whether our rules are there: deleting or flushing the table, or all tables, takes its
/// only rule.
const CANARY: &str = "nat-prerouting";

/// Tells the time: the system's, or a test's.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Keeps one family's table equal to the plan.
///
/// The families may share one [`Tables`], as they do in the kernel.
pub struct NftablesBackend<T> {
    tables: Arc<Mutex<T>>,
    layout: Layout,
    /// What the kernel holds; unknown at first and after any failure.
    loaded: Option<Loaded>,
    /// The most elements in one transaction.
    limit: usize,
    /// For what is said of long loads.
    clock: Clock,
    /// Hears of others' changes, where the kernel does not refuse them.
    guard: Option<Guard>,
}

/// What a complete comparison starts from.
struct Found {
    dump: Option<TableDump>,
    owner_persist: bool,
}

impl<T: Tables> NftablesBackend<T> {
    /// A backend that knows nothing of the kernel's state yet.
    pub fn new(family: IpFamily, tables: Arc<Mutex<T>>) -> Self {
        let (layout, clock) = (Layout::new(family), Arc::new(Instant::now));
        Self { tables, layout, loaded: None, limit: MAX_ELEMENTS, clock, guard: None }
    }

    /// Adds and removes at most this many elements in one transaction, two at least.
    ///
    /// Larger changes are cut into several, in an order that leaves every packet an endpoint.
    #[must_use]
    pub fn with_transaction_limit(self, elements: usize) -> Self {
        Self { limit: elements, ..self }
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    fn tables(&self) -> MutexGuard<'_, T> {
        // Whoever panicked left at worst an unfinished conversation with the kernel, which
        // the socket sorts out by sequence numbers.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the kernel holds, and what it offers.
    fn read(&self) -> Result<Found, BackendError> {
        let (mut tables, table) = (self.tables(), self.layout.table());
        let dump = tables.dump(&table).map_err(|error| unread(format!("table {table}"), error))?;
        let features = tables.features().map_err(|error| unread("what nf_tables offers".into(), error))?;
        Ok(Found { dump, owner_persist: features.owner_persist })
    }

    /// Compares the whole plan with what the kernel holds.
    fn load(&mut self, plan: &NodePlan) -> Result<ApplyReport, BackendError> {
        let mut report = ApplyReport { scope: Scope::Full, ..ApplyReport::default() };
        let table = self.layout.table();
        let mut progress = Progress::new(plan.service_ports.len(), (self.clock)());
        if let Some(guard) = &mut self.guard {
            guard.begin_reading();
        }
        let Found { dump, owner_persist } = self.read()?;
        // From here on what was known may no longer hold.
        self.loaded = None;
        refuse_foreign_owner(dump.as_ref())?;
        progress.read(&table, dump.as_ref(), (self.clock)());
        let mut load = Load::begin(&self.layout, self.limit, plan, dump, owner_persist);
        for (before, name) in plan.names_by_importance().into_iter().enumerate() {
            load.add(name, &plan.service_ports[name]);
            let full = load.full_batches();
            if !full.is_empty() {
                self.commit(full, &mut report)?;
                progress.committed(&table, before + 1, (self.clock)());
            }
        }
        let Finished { mut loaded, transactions, purges } = load.finish();
        self.commit(transactions, &mut report)?;
        self.purge(&purges, &mut report)?;
        let unused = loaded.unused();
        self.sweep(&mut loaded, &unused, &mut report)?;
        self.loaded = Some(loaded);
        self.guard = match self.guard.take() {
            // A first load is not listened to: a notice of each element would take the kernel longer than it.
            None => Guard::of(&table, &mut *self.tables()),
            guard => guard,
        };
        Ok(report)
    }

    /// Brings what the change set names up to date.
    fn update(
        &mut self,
        mut loaded: Loaded,
        plan: &NodePlan,
        changes: &ChangeSet,
    ) -> Result<ApplyReport, BackendError> {
        let mut report = ApplyReport::default();
        let is_sweep = loaded.unused_count() > MAX_UNUSED_CLASSES;
        let unused: HashSet<Class> =
            if is_sweep { loaded.unused() } else { Vec::new() }.into_iter().collect();
        let mut edits = Edits::default();
        let mut batches = Batches::new(&self.layout, self.limit);
        let mut sticky = Vec::new();
        if let Some(old) = changes.old_node() {
            resettle(&self.layout, old, &plan.node, &loaded, &mut batches);
        }
        let wanted = changes.service_ports().map(|(name, _)| (name, plan.service_ports.get(name)));
        loaded.change(wanted, &mut edits);
        for change in loaded.take_sticky() {
            // The node's settings have changed already, above, whatever becomes of the service port.
            let of = |loaded: Option<(Arc<ServicePort>, SlotLists)>| -> Option<Sticky> {
                let (port, slots) = loaded?;
                Sticky::of(&change.name, &port, &slots, &plan.node)
            };
            let edit = Present::of(of(change.old)).turn_into(of(change.new), self.layout.family());
            sticky.push(edit);
        }
        for class in loaded.take_new_classes() {
            batches.add_class(class, &plan.node);
        }
        loaded.hooked.hook(&mut batches);
        batches.edits(&edits, &sticky, &sticky);
        loaded.hooked.unhook(&mut batches);
        let purges: Vec<Purge> = loaded.absorb(sticky);
        self.commit(batches.finish(), &mut report)?;
        self.purge(&purges, &mut report)?;
        let still: Vec<Class> = loaded.unused().into_iter().filter(|class| unused.contains(class)).collect();
        self.sweep(&mut loaded, &still, &mut report)?;
        self.loaded = Some(loaded);
        if let Some(guard) = &mut self.guard {
            // So that notices of ours leave room for those of others.
            guard.listen();
        }
        Ok(report)
    }

    fn commit(&self, transactions: Vec<Transaction>, report: &mut ApplyReport) -> Result<(), BackendError> {
        for transaction in transactions {
            let commit = self.tables().commit(&transaction).map_err(refused)?;
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
        // Taken out for a change, so that after a failure nothing is believed of the kernel.
        let loaded = if changes.is_complete() { None } else { self.loaded.take() };
        let result = match loaded {
            Some(loaded) => self.update(loaded, plan, changes),
            None => self.load(plan),
        };
        match result {
            Ok(mut report) => {
                let failures = u64::try_from(report.failed_removals).unwrap_or(u64::MAX);
                report.metrics.push(Metric::increment(CLEANUP_FAILURES, failures));
                Ok(report)
            }
            Err(error) => Err(error.with_metrics([Metric::increment(SYNC_FAILURES, 1)])),
        }
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        if self.guard.as_mut().is_some_and(Guard::is_damaged) {
            return Ok(false);
        }
        let table = self.layout.table();
        let rules = self.tables().count_rules(&table, CANARY);
        let rules = rules.map_err(|error| unread(format!("chain {CANARY} of table {table}"), error))?;
        Ok(rules.is_some_and(|rules| rules > 0))
    }

    fn poll_foreign_change(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.guard.as_mut().map_or(Poll::Pending, |guard| guard.poll_damaged(context))
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.loaded = None;
        let table = self.layout.table();
        let dump = self.tables().dump(&table).map_err(|error| unread(format!("table {table}"), error))?;
        if dump.is_none() {
            return Ok(());
        }
        refuse_foreign_owner(dump.as_ref())?;
        let mut transaction = Transaction::new(table);
        transaction.delete_table();
        self.tables().commit(&transaction).map_err(refused)?;
        Ok(())
    }
}

/// Rewrites what depends on the node's settings.
fn resettle(
    layout: &Layout,
    old: &NodeSettings,
    new: &NodeSettings,
    loaded: &Loaded,
    batches: &mut Batches<'_>,
) {
    let before = layout.chains(old);
    for ((chain, rules), (_, old_rules)) in layout.chains(new).into_iter().zip(before) {
        if rules != old_rules {
            batches.rewrite_chain(&chain.name, rules);
        }
    }
    for class in loaded.classes() {
        let rules = class.rules(new);
        if rules != class.rules(old) {
            batches.rewrite_chain(&class.chain(), rules);
        }
    }
    for (name, port) in loaded.sticky_ports() {
        // Their slots follow from the endpoints alone.
        let of = |settings| Sticky::of(name, port, &SlotLists::default(), settings);
        let edit = Present::of(of(old)).turn_into(of(new), layout.family());
        edit.switch(batches);
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

/// The table is another process's for as long as its socket is open.
#[derive(Debug, thiserror::Error)]
#[error("the socket with netlink port {port} owns it")]
struct ForeignOwner {
    port: u32,
}

fn refuse_foreign_owner(dump: Option<&TableDump>) -> Result<(), BackendError> {
    match dump {
        Some(TableDump { id, owner: Owner::Other { port }, .. }) => {
            Err(BackendError::busy(format!("table {id}"), ForeignOwner { port: *port }))
        }
        _ => Ok(()),
    }
}

fn refused(error: NftError) -> BackendError {
    BackendError::refused("change nftables", error)
}

fn unread(object: String, error: NftError) -> BackendError {
    BackendError::unread(object, error)
}

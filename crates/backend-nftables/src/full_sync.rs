//! A full sync: compares the whole plan with the existing table, and writes bounded transactions.

use std::sync::Arc;

use portolan_core::plan::NodeSettings;
use portolan_core::{NodePlan, ServicePort, ServicePortName};
use portolan_nft::{TableDump, Transaction};

use crate::adopt::{Existing, is_compatible};
use crate::commit::Batches;
use crate::dedicated::{Dedicated, DedicatedEdit, Purge};
use crate::edits::Edits;
use crate::layout::Layout;
use crate::programmed::Programmed;
use crate::structure::structure;

mod progress;

pub(crate) use progress::Progress;

/// Elements after which the first transaction of a full sync is closed.
///
/// The service ports that others need come first in a plan, so a short first transaction programs them
/// within milliseconds, however long the rest takes.
const FIRST_ELEMENTS: usize = 1024;

/// A full sync, service port by service port.
pub(crate) struct FullSync<'a> {
    layout: &'a Layout,
    settings: &'a NodeSettings,
    existing: Existing,
    programmed: Programmed,
    edits: Edits,
    batches: Batches<'a>,
    /// Sets of other versions.
    obsolete_sets: Vec<Arc<str>>,
    /// The changes of dedicated objects. Addresses may lead to the old ones until the end.
    dedicated: Vec<DedicatedEdit>,
    limit: usize,
    /// The number of elements at which the next transaction begins.
    cut_at: usize,
}

/// The result of a full sync, with the transactions that are still to be committed.
pub(crate) struct Finished {
    pub(crate) programmed: Programmed,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) purges: Vec<Purge>,
}

impl<'a> FullSync<'a> {
    pub(crate) fn begin(
        layout: &'a Layout,
        limit: usize,
        plan: &'a NodePlan,
        dump: Option<TableDump>,
        owned: bool,
    ) -> Self {
        let settings = &plan.node;
        let replace = dump.as_ref().is_some_and(|dump| !is_compatible(layout, settings, dump));
        // The new table replaces the old one in the same transaction, however large it is.
        let (limit, dump) = if replace { (usize::MAX, None) } else { (limit, dump) };
        let existing = dump.as_ref().map_or_else(Existing::default, |dump| Existing::read(layout, dump));
        let mut batches = Batches::new(layout, limit);
        if replace {
            tracing::info!(table = %layout.table(), "Replacing table with an incompatible layout");
            batches.current().delete_table();
        }
        let mut programmed = Programmed::default();
        let obsolete_sets = structure(layout, settings, dump.as_ref(), owned, &mut programmed, &mut batches);
        programmed.reserve(plan.service_ports.len());
        let (edits, dedicated) = (Edits::default(), Vec::new());
        let cut_at = if replace { limit } else { limit.min(FIRST_ELEMENTS) };
        Self {
            layout,
            settings,
            existing,
            programmed,
            edits,
            batches,
            obsolete_sets,
            dedicated,
            limit,
            cut_at,
        }
    }

    pub(crate) fn add(&mut self, name: &ServicePortName, port: &Arc<ServicePort>) {
        let slots = self.existing.slots(name, port);
        self.programmed.adopt(name, slots, port, &mut self.edits);
        if self.edits.len() >= self.cut_at {
            self.flush();
            self.batches.cut();
            self.cut_at = self.limit;
        }
    }

    /// The transactions that can be committed while the rest is still being prepared.
    pub(crate) fn full_batches(&mut self) -> Vec<Transaction> {
        self.batches.take_full()
    }

    fn flush(&mut self) {
        self.existing.match_found(&mut self.edits, self.layout.family);
        for class in self.programmed.take_new_classes() {
            self.batches.add_class(class, self.settings);
        }
        let first = self.dedicated.len();
        for change in self.programmed.take_dedicated() {
            let present = self.existing.take_dedicated(&change.name);
            let wanted = change.new;
            let wanted =
                wanted.and_then(|(port, slots)| Dedicated::of(&change.name, &port, &slots, self.settings));
            self.dedicated.push(present.turn_into(wanted, self.layout));
        }
        self.programmed.features.create(&mut self.batches);
        self.batches.edits(&self.edits, &mut self.dedicated[first..]);
        // Cleared and kept: the next edits are as many, and new hash tables would fragment the heap.
        self.edits.clear();
    }

    pub(crate) fn finish(mut self) -> Finished {
        self.flush();
        let gone = self.existing.stale_dedicated().into_iter();
        self.dedicated.extend(gone.map(|present| present.turn_into(None, self.layout)));
        let stale = std::mem::take(&mut self.existing).stale();
        let Self { mut programmed, mut batches, obsolete_sets, mut dedicated, .. } = self;
        batches.edits(&stale, &mut []);
        for chain in &programmed.stale_chains {
            batches.current().flush_chain(Arc::clone(chain));
        }
        for edit in &mut dedicated {
            batches.current().append(&mut edit.release);
        }
        for set in obsolete_sets {
            batches.current().delete_set(set);
        }
        programmed.features.remove_unused(&mut batches);
        let purges = programmed.absorb(dedicated);
        Finished { programmed, transactions: batches.finish(), purges }
    }
}

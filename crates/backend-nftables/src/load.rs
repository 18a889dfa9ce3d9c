//! A first load: the whole plan against what an earlier run left, in bounded transactions.

use std::sync::Arc;

use portolan_core::plan::NodeSettings;
use portolan_core::{NodePlan, ServicePort, ServicePortName};
use portolan_nft::{TableDump, Transaction};

use crate::adopt::{Existing, Start};
use crate::affinity::Sticky;
use crate::commit::Batches;
use crate::edits::Edits;
use crate::layout::Layout;
use crate::loaded::Loaded;
use crate::sticky::{Purge, StickyEdit};
use crate::structure::{Obsolete, structure};

mod progress;

pub(crate) use progress::Progress;

/// Elements after which the first transaction of a load is closed.
///
/// The service ports that others need come first in a plan, so a short first transaction has them in
/// force within milliseconds, however long the rest takes.
const FIRST_ELEMENTS: usize = 1024;

/// A first load, service port by service port.
pub(crate) struct Load<'a> {
    layout: &'a Layout,
    settings: &'a NodeSettings,
    existing: Existing,
    loaded: Loaded,
    edits: Edits,
    batches: Batches<'a>,
    obsolete: Obsolete,
    /// What services with affinity need. Addresses that they had may lead there to the end.
    sticky: Vec<StickyEdit>,
    limit: usize,
    /// The number of elements at which the next transaction begins.
    cut_at: usize,
}

/// What a first load comes to, but for the transactions that were full before.
pub(crate) struct Finished {
    pub(crate) loaded: Loaded,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) purges: Vec<Purge>,
}

impl<'a> Load<'a> {
    pub(crate) fn begin(
        layout: &'a Layout,
        limit: usize,
        plan: &'a NodePlan,
        dump: Option<TableDump>,
        owned: bool,
    ) -> Self {
        let settings = &plan.node;
        let start = Start::choose(layout, settings, dump.as_ref());
        let replace = matches!(start, Start::Replace);
        let (limit, dump, mut existing) = match start {
            Start::Create => (limit, None, Existing::default()),
            Start::Adopt(existing) => (limit, dump, *existing),
            // What replaces the old table must come with it, however much that is.
            Start::Replace => (usize::MAX, None, Existing::default()),
        };
        let mut batches = Batches::new(layout, limit);
        if replace {
            tracing::info!(table = %layout.table(), "the table has another layout, replacing it");
            batches.current().delete_table();
        }
        let obsolete = structure(layout, settings, dump.as_ref(), owned, &mut existing, &mut batches);
        let loaded = Loaded::with_chains(existing.classes(), existing.features());
        let (edits, sticky) = (Edits::default(), Vec::new());
        let cut_at = if replace { limit } else { limit.min(FIRST_ELEMENTS) };
        let mut load =
            Self { layout, settings, existing, loaded, edits, batches, obsolete, sticky, limit, cut_at };
        load.loaded.make_room(plan.service_ports.len());
        load
    }

    pub(crate) fn add(&mut self, name: &ServicePortName, port: &Arc<ServicePort>) {
        let slots = self.existing.slots(name, port);
        self.loaded.adopt(name, slots, port, &mut self.edits);
        if self.edits.len() >= self.cut_at {
            self.flush();
            self.batches.cut();
            self.cut_at = self.limit;
        }
    }

    /// The transactions that can go to the kernel while the rest is still being made.
    pub(crate) fn full_batches(&mut self) -> Vec<Transaction> {
        self.batches.take_full()
    }

    fn flush(&mut self) {
        self.existing.recognise(&mut self.edits, self.layout.family);
        for class in self.loaded.take_new_classes() {
            self.batches.add_class(class, self.settings);
        }
        let first = self.sticky.len();
        for change in self.loaded.take_sticky() {
            let present = self.existing.take_sticky(&change.name);
            let wanted = change.new;
            let wanted =
                wanted.and_then(|(port, slots)| Sticky::of(&change.name, &port, &slots, self.settings));
            self.sticky.push(present.turn_into(wanted, self.layout.family()));
        }
        self.loaded.hooked.hook(&mut self.batches);
        self.batches.edits(&self.edits, &self.sticky[first..], &[]);
        // Emptied and kept: the next ones are as many, and tables that come and go leave holes behind.
        self.edits.clear();
    }

    pub(crate) fn finish(mut self) -> Finished {
        self.flush();
        let gone = self.existing.leftover_sticky().into_iter();
        self.sticky.extend(gone.map(|present| present.turn_into(None, self.layout.family())));
        let leftovers = std::mem::take(&mut self.existing).leftovers();
        let Self { mut loaded, mut batches, mut obsolete, sticky, .. } = self;
        batches.edits(&leftovers, &[], &[]);
        obsolete.empty_chains(&mut batches);
        for edit in &sticky {
            edit.release(&mut batches);
        }
        obsolete.delete_sets(&mut batches);
        loaded.hooked.unhook(&mut batches);
        let purges = loaded.absorb(sticky);
        loaded.stale_chains.extend(obsolete.into_chains());
        Finished { loaded, transactions: batches.finish(), purges }
    }
}

//! Orders edits into transactions of bounded size.
//!
//! One transaction is atomic, so within it the order matters only to the kernel's
//! checks. A change too large for one is split into several, and then packets see the
//! order: first targets (chains, slots) are added, then the elements that lead there,
//! and removal goes the other way round. In between a packet goes to the old endpoints
//! of a VIP, to the new ones, or to their overlap. Dedicated chains are rewritten like the
//! verdicts that lead to classes: after the slots they draw from are added, and before
//! those they no longer draw from are removed. An address that moves to a dedicated
//! chain, or from one, in a change of several transactions may in between meet the chain
//! before or after its change, with or without endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_core::IpFamily;
use portolan_core::plan::NodeSettings;
use portolan_nft::{Bytes, Chain, Element, Rule, Set, Transaction, Verdict};

use crate::class::Class;
use crate::dedicated::DedicatedEdit;
use crate::edits::{Edit, Edits};
use crate::frontend::Value;
use crate::layout::{Layout, ServiceSet, nft_family};

/// The most elements that one transaction adds or removes.
///
/// The kernel holds its transaction lock for some 2 µs per element, and changes of other programs
/// wait for it.
pub(crate) const MAX_ELEMENTS: usize = 16 * 1024;

/// Builds transactions one after the other.
pub(crate) struct Batches<'a> {
    layout: &'a Layout,
    done: Vec<Transaction>,
    current: Transaction,
    limit: usize,
    chain_names: HashMap<Class, Arc<str>>,
}

/// The steps of [`Batches::edits`] in the order that keeps every packet served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    FillOrReplace,
    Remove,
}

impl<'a> Batches<'a> {
    /// No transactions yet; none will have more than `limit` elements.
    pub(crate) fn new(layout: &'a Layout, limit: usize) -> Self {
        let current = Transaction::new(layout.table());
        Self { layout, done: Vec::new(), current, limit, chain_names: HashMap::new() }
    }

    /// The transaction that is being filled.
    pub(crate) fn current(&mut self) -> &mut Transaction {
        &mut self.current
    }

    /// Creates the chain of a class.
    pub(crate) fn add_class(&mut self, class: Class, settings: &NodeSettings) {
        self.add_chain(Chain::regular(class.chain()), class.rules(settings));
    }

    /// Creates a chain; one that was left behind empty is reused.
    pub(crate) fn add_chain(&mut self, chain: Chain, rules: Vec<Rule>) {
        let name = Arc::clone(&chain.name);
        self.current.add_chain(chain).add_rules(&name, rules);
    }

    /// Replaces the rules of a chain.
    pub(crate) fn rewrite_chain(&mut self, chain: &Arc<str>, rules: Vec<Rule>) {
        self.current.flush_chain(Arc::clone(chain)).add_rules(chain, rules);
    }

    /// Makes a set of ranges that holds `found` hold `wanted`.
    pub(crate) fn refill(&mut self, set: &Arc<Set>, found: &[Element], wanted: Vec<Element>) {
        if found == wanted {
            return;
        }
        if !found.is_empty() {
            self.current.flush_set(Arc::clone(&set.name));
        }
        self.current.add_elements(set, wanted);
    }

    /// Appends all edits, and the switch of the `changed` dedicated objects to their new state. These are
    /// [released](DedicatedEdit::release) afterwards.
    pub(crate) fn edits(&mut self, edits: &Edits, changed: &mut [DedicatedEdit]) {
        let (leading, targets): (Vec<_>, Vec<_>) =
            ServiceSet::ALL.into_iter().partition(|set| set.dispatches());
        for edit in &mut *changed {
            self.current.append(&mut edit.prepare);
        }
        for set in &targets {
            self.step(*set, &edits.of(*set), Step::FillOrReplace);
        }
        // Verdicts may already lead to a chain that gets its first endpoint now: restrict its addresses before.
        let guard = ServiceSet::Restricted;
        self.step(guard, &edits.of(guard), Step::FillOrReplace);
        for edit in changed {
            self.current.append(&mut edit.switch);
        }
        for set in leading.iter().filter(|set| **set != guard) {
            self.step(*set, &edits.of(*set), Step::FillOrReplace);
        }
        for set in leading.iter().rev().chain(targets.iter().rev()) {
            self.step(*set, &edits.of(*set), Step::Remove);
        }
    }

    fn step(&mut self, set: ServiceSet, edits: &[(&Bytes, &Edit)], step: Step) {
        if set == ServiceSet::SourceRanges {
            return self.step_ranges(edits, step);
        }
        let edits = edits.iter().copied();
        let chosen: Vec<_> =
            edits.filter(|(_, edit)| edit.new.is_some() == (step == Step::FillOrReplace)).collect();
        let mut rest = &chosen[..];
        while !rest.is_empty() {
            // A replaced element counts twice, and one at least always fits.
            let capacity = (self.limit.saturating_sub(self.current.element_count()) / 2).max(1);
            let (now, later) = rest.split_at(capacity.min(rest.len()));
            self.put(set, now.iter().copied());
            rest = later;
        }
    }

    /// Ranges of one VIP must never overlap, so the old ones are deleted before new ones are added, all in
    /// one transaction because the VIP stays restricted meanwhile. Without new ones the VIP is no longer
    /// restricted, and they are deleted after that.
    fn step_ranges(&mut self, edits: &[(&Bytes, &Edit)], step: Step) {
        let family = self.layout.family;
        for ranges in edits.chunk_by(|(a, _), (b, _)| vip_of(a, family) == vip_of(b, family)) {
            let has_new = ranges.iter().any(|(_, edit)| edit.new.is_some());
            if has_new == (step == Step::FillOrReplace) {
                self.put(ServiceSet::SourceRanges, ranges.iter().copied());
            }
        }
    }

    /// Deletes and adds some elements of one set.
    fn put<'e>(&mut self, set: ServiceSet, edits: impl Iterator<Item = (&'e Bytes, &'e Edit)> + Clone) {
        let set = self.layout.set(set);
        let family = self.layout.family;
        let names = &mut self.chain_names;
        let old = edits.clone().filter_map(|(key, edit)| Some(old_element(*key, edit.old.as_ref()?, family)));
        self.current.delete_elements(set, old);
        let new = edits.filter_map(|(key, edit)| Some(element(*key, edit.new.as_ref()?, family, names)));
        self.current.add_elements(set, new);
        if self.current.element_count() >= self.limit {
            self.cut();
        }
    }

    /// Starts another transaction.
    pub(crate) fn cut(&mut self) {
        if !self.current.is_empty() {
            let next = Transaction::new(self.layout.table());
            self.done.push(std::mem::replace(&mut self.current, next));
        }
    }

    /// Takes the full transactions, not the one that is being filled.
    pub(crate) fn take_full(&mut self) -> Vec<Transaction> {
        std::mem::take(&mut self.done)
    }

    /// All remaining transactions.
    pub(crate) fn finish(mut self) -> Vec<Transaction> {
        self.cut();
        self.done
    }
}

fn element(
    key: Bytes,
    value: &Value,
    family: IpFamily,
    chain_names: &mut HashMap<Class, Arc<str>>,
) -> Element {
    match value {
        Value::Member => Element::key(key),
        Value::Prefix(bits) => ranged(key, *bits, family),
        Value::Target(target) => Element::data(key, target.bytes()),
        Value::Class(class) => {
            let chain = chain_names.entry(*class).or_insert_with(|| class.chain());
            Element::verdict(key, Verdict::Goto(Arc::clone(chain)))
        }
        Value::Chain(chain) => Element::verdict(key, Verdict::Goto(Arc::clone(chain))),
    }
}

/// What identifies an element to delete: its key, which for a range has an end.
fn old_element(key: Bytes, value: &Value, family: IpFamily) -> Element {
    match value {
        Value::Prefix(bits) => ranged(key, *bits, family),
        _ => Element::key(key),
    }
}

/// The VIP that a range of sources is for: all but the last part of the key.
pub(crate) fn vip_of(range: &Bytes, family: IpFamily) -> &[u8] {
    &range[..range.len().saturating_sub(nft_family(family).addr_len())]
}

/// All keys whose last part, an address, shares so many bits with that of `key`.
fn ranged(key: Bytes, bits: u8, family: IpFamily) -> Element {
    let address = nft_family(family).addr_len();
    Element::prefix(key, key.len().saturating_sub(address) * 8 + usize::from(bits))
}

//! Orders edits into transactions of bounded size.
//!
//! One transaction is atomic, so within it order matters to the kernel's checks
//! only. A change too large for one is cut into several, and then order is what a
//! packet sees: first what is led to (chains, slots), then what leads there, then
//! the other way round for what goes. Whatever a packet meets in between is the
//! old endpoint list of a VIP, or its new one, or their overlap. The chains of services
//! with affinity are like the verdicts that lead to classes: rewritten when the slots they
//! draw from are there, and before those they no longer draw from go. So are the chains that the many addresses of one
//! service port share. An address that passes to a chain of either kind, or from it, in a change of several transactions
//! may meet the chain in between as it was, or as it will be, with or without endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_core::IpFamily;
use portolan_core::plan::NodeSettings;
use portolan_nft::{Bytes, Chain, Element, Operation, Rule, Set, Transaction, Verdict};

use crate::class::Class;
use crate::edits::{Edit, Edits};
use crate::frontend::Value;
use crate::layout::{Container, Layout, nft_family};
use crate::sticky::StickyEdit;

/// The most elements that one transaction adds or removes.
///
/// The kernel holds its transaction lock for some 2 µs per element, and other programs'
/// changes to nftables wait for that long.
pub(crate) const MAX_ELEMENTS: usize = 16 * 1024;

/// Transactions in the making, filled one after the other.
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
    /// Nothing to send yet; no transaction will have more than `limit` elements.
    pub(crate) fn new(layout: &'a Layout, limit: usize) -> Self {
        let current = Transaction::new(layout.table());
        Self { layout, done: Vec::new(), current, limit, chain_names: HashMap::new() }
    }

    /// Appends one step that is not about elements of services.
    pub(crate) fn push(&mut self, operation: Operation) {
        self.current.push(operation);
    }

    /// The transaction that is being filled.
    pub(crate) fn current(&mut self) -> &mut Transaction {
        &mut self.current
    }

    /// Creates the chain of a class.
    pub(crate) fn add_class(&mut self, class: Class, settings: &NodeSettings) {
        self.add_chain(Chain::regular(class.chain()), class.rules(settings));
    }

    /// Creates a chain; one that was left behind empty is taken up.
    pub(crate) fn add_chain(&mut self, chain: Chain, rules: Vec<Rule>) {
        let name = Arc::clone(&chain.name);
        self.current.add_chain(chain);
        self.add_rules(&name, rules);
    }

    /// Gives a chain other rules.
    pub(crate) fn rewrite_chain(&mut self, chain: &Arc<str>, rules: Vec<Rule>) {
        self.current.flush_chain(Arc::clone(chain));
        self.add_rules(chain, rules);
    }

    fn add_rules(&mut self, chain: &Arc<str>, rules: Vec<Rule>) {
        for rule in rules {
            self.current.add_rule(Arc::clone(chain), rule);
        }
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

    /// Deletes a chain that nothing leads to.
    pub(crate) fn delete_chain(&mut self, chain: Arc<str>) {
        self.current.delete_chain(chain);
    }

    /// Appends all edits, what is new for services with `changed` affinity, and the end of what
    /// the `released` ones no longer need once these edits are made.
    pub(crate) fn edits(&mut self, edits: &Edits, changed: &[StickyEdit], released: &[StickyEdit]) {
        let (leading, led_to): (Vec<_>, Vec<_>) =
            Container::ALL.into_iter().partition(|container| container.dispatches());
        for edit in changed {
            edit.prepare(self);
        }
        for container in &led_to {
            self.step(*container, &edits.of(*container), Step::FillOrReplace);
        }
        // Verdicts may lead to a chain already that gets its first endpoint now: what is not open to all is restricted
        // before.
        let guard = Container::Restricted;
        self.step(guard, &edits.of(guard), Step::FillOrReplace);
        for edit in changed {
            edit.switch(self);
        }
        for container in leading.iter().filter(|container| **container != guard) {
            self.step(*container, &edits.of(*container), Step::FillOrReplace);
        }
        for container in leading.iter().rev() {
            self.step(*container, &edits.of(*container), Step::Remove);
        }
        for edit in released {
            edit.release(self);
        }
        for container in led_to.iter().rev() {
            self.step(*container, &edits.of(*container), Step::Remove);
        }
    }

    fn step(&mut self, container: Container, edits: &[(&Bytes, &Edit)], step: Step) {
        if container == Container::SourceRanges {
            return self.step_ranges(edits, step);
        }
        let edits = edits.iter().copied();
        let chosen: Vec<_> =
            edits.filter(|(_, edit)| edit.new.is_some() == (step == Step::FillOrReplace)).collect();
        let mut rest = &chosen[..];
        while !rest.is_empty() {
            // A replaced element counts twice, and one at least always fits.
            let room = (self.limit.saturating_sub(self.current.element_count()) / 2).max(1);
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.put(container, now.iter().copied());
            rest = later;
        }
    }

    /// Ranges of one VIP must not overlap at any time, so its old ones go before its new ones come,
    /// and because it is restricted meanwhile, all of them in one transaction. Where no new ones
    /// come the VIP stops being restricted, and only then may they go.
    fn step_ranges(&mut self, edits: &[(&Bytes, &Edit)], step: Step) {
        let family = self.layout.family;
        for ranges in edits.chunk_by(|(a, _), (b, _)| vip_of(a, family) == vip_of(b, family)) {
            let has_new = ranges.iter().any(|(_, edit)| edit.new.is_some());
            if has_new == (step == Step::FillOrReplace) {
                self.put(Container::SourceRanges, ranges.iter().copied());
            }
        }
    }

    /// Deletes and adds some elements of one container.
    fn put<'e>(&mut self, container: Container, edits: impl Iterator<Item = (&'e Bytes, &'e Edit)> + Clone) {
        let set = Arc::clone(self.layout.set(container));
        let family = self.layout.family;
        let names = &mut self.chain_names;
        let old = edits.clone().filter_map(|(key, edit)| Some(old_element(*key, edit.old.as_ref()?, family)));
        self.current.delete_elements(&set, old);
        let new = edits.filter_map(|(key, edit)| Some(element(*key, edit.new.as_ref()?, family, names)));
        self.current.add_elements(&set, new);
        if self.current.element_count() >= self.limit {
            self.cut();
        }
    }

    /// Lets what follows go into a transaction of its own.
    pub(crate) fn cut(&mut self) {
        if !self.current.is_empty() {
            let next = Transaction::new(self.layout.table());
            self.done.push(std::mem::replace(&mut self.current, next));
        }
    }

    /// Takes the transactions that are full, leaving the one that is being filled.
    pub(crate) fn take_full(&mut self) -> Vec<Transaction> {
        std::mem::take(&mut self.done)
    }

    /// All transactions that are left.
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

/// What names an element to the kernel when it goes: its key, which for a range has an end.
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

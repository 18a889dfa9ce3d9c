//! Orders edits into transactions of bounded size.
//!
//! One transaction is atomic, so within it order matters to the kernel's checks
//! only. A change too large for one is cut into several, and then order is what a
//! packet sees: first what is led to (chains, slots), then what leads there, then
//! the other way round for what goes. Whatever a packet meets in between is the
//! old endpoint list of a VIP, or its new one, or their overlap.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_nft::{Bytes, Chain, Element, Operation, Transaction, Verdict};

use crate::class::Class;
use crate::edits::{Edit, Edits};
use crate::frontend::Value;
use crate::layout::{Container, Layout};

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
    pub(crate) fn add_class(&mut self, class: Class) {
        let chain = class.chain();
        self.current.add_chain(Chain::regular(Arc::clone(&chain)));
        for rule in class.rules() {
            self.current.add_rule(Arc::clone(&chain), rule);
        }
    }

    /// Deletes the chain of a class.
    pub(crate) fn delete_class(&mut self, class: Class) {
        self.current.delete_chain(class.chain());
    }

    /// Appends all edits.
    pub(crate) fn edits(&mut self, edits: &Edits) {
        let sets = |dispatches: bool| {
            Container::ALL.into_iter().filter(move |container| container.dispatches() == dispatches)
        };
        for container in sets(false) {
            self.step(container, &edits.of(container), Step::FillOrReplace);
        }
        for container in sets(true) {
            self.step(container, &edits.of(container), Step::FillOrReplace);
        }
        for container in sets(true) {
            self.step(container, &edits.of(container), Step::Remove);
        }
        for container in sets(false) {
            self.step(container, &edits.of(container), Step::Remove);
        }
    }

    fn step(&mut self, container: Container, edits: &[(Bytes, Edit)], step: Step) {
        let chosen: Vec<_> =
            edits.iter().filter(|(_, edit)| edit.new.is_some() == (step == Step::FillOrReplace)).collect();
        let mut rest = &chosen[..];
        while !rest.is_empty() {
            // A replaced element counts twice, and one at least always fits.
            let room = (self.limit.saturating_sub(self.current.element_count()) / 2).max(1);
            let (now, later) = rest.split_at(room.min(rest.len()));
            let set = Arc::clone(self.layout.set(container));
            let old = now.iter().filter(|(_, edit)| edit.old.is_some()).map(|(key, _)| Element::key(*key));
            self.current.delete_elements(&set, old.collect::<Vec<_>>());
            let names = &mut self.chain_names;
            let new = now.iter().filter_map(|(key, edit)| Some(element(*key, edit.new?, names)));
            self.current.add_elements(&set, new);
            rest = later;
            if self.current.element_count() >= self.limit {
                self.cut();
            }
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

fn element(key: Bytes, value: Value, chain_names: &mut HashMap<Class, Arc<str>>) -> Element {
    match value {
        Value::Member => Element::key(key),
        Value::Target(target) => {
            let mut data = Bytes::new();
            data.push_addr(target.address).push_port(target.port);
            Element::data(key, data)
        }
        Value::Class(class) => {
            let chain = chain_names.entry(class).or_insert_with(|| class.chain());
            Element::verdict(key, Verdict::Goto(Arc::clone(chain)))
        }
    }
}

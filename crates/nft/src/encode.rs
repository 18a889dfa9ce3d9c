//! Writes a transaction as one netlink batch.
//!
//! Tables, chains, sets and rules go through libnftnl; elements were written when they were added to
//! the transaction, and a message carries as many as fit its attribute of at most 64 KiB. Every
//! message is remembered with the step it came from, so that an error can name it.

use portolan_netlink::{Batch, MessageWriter, flag};

use crate::libnftnl::{Object, Unwritable};
use crate::wire::{SUBSYSTEM, element_list, family_header, message, message_kind};
use crate::{ElementList, Family, Features, NftError, Operation, Set, TableId, Transaction};

mod object;
mod rule;

pub(crate) use object::{concat_type, set_flags};

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`, linux/netfilter/nfnetlink.h.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// A batch, and where each of its messages comes from.
pub(crate) struct Encoded {
    pub(crate) batch: Batch,
    /// The message that requests an answer: the last that changes something, since kernels before
    /// 6.10 do not answer the one that ends a batch.
    pub(crate) asked: u32,
    /// For each message between the brackets the index of its step.
    origins: Vec<usize>,
}

impl Encoded {
    /// The index of the step that a message comes from; nothing for those that bracket the batch.
    pub(crate) fn origin(&self, sequence: u32) -> Option<usize> {
        let index = sequence.wrapping_sub(self.batch.first()).checked_sub(1)?;
        self.origins.get(usize::try_from(index).ok()?).copied()
    }

    fn add(
        &mut self,
        operation: usize,
        message: u8,
        flags: u16,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Result<(), Unwritable> {
        self.batch.add(message_kind(message), flag::REQUEST | flags, fill).map_err(|_too_long| TOO_LONG)?;
        self.origins.push(operation);
        Ok(())
    }

    /// The number of messages between the brackets.
    pub(crate) fn messages(&self) -> usize {
        self.origins.len()
    }
}

/// The bytes of elements after which a message is closed. One more element has at most some 600.
const MESSAGE: usize = 60_000;

/// Writes `transaction` into an empty batch, for a kernel that has these features.
pub(crate) fn encode(
    transaction: &Transaction,
    features: Features,
    batch: Batch,
) -> Result<Encoded, NftError> {
    if let Some((object, reason)) = transaction.invalid() {
        return Err(NftError::Invalid { object: object.clone(), reason });
    }
    let mut writer = Writer {
        table: transaction.table(),
        features,
        encoded: Encoded { asked: batch.first(), batch, origins: Vec::new() },
    };
    writer.bracket(BATCH_BEGIN).map_err(|reason| invalid("the batch", reason))?;
    for (index, operation) in transaction.operations().iter().enumerate() {
        writer.operation(index, operation)?;
    }
    let last = writer.encoded.batch.last();
    writer.bracket(BATCH_END).map_err(|reason| invalid("the batch", reason))?;
    let mut encoded = writer.encoded;
    if let Some(last) = last {
        encoded.asked = last;
        encoded.batch.set_flags(last, flag::ACK);
    }
    Ok(encoded)
}

fn invalid(object: impl Into<String>, Unwritable(reason): Unwritable) -> NftError {
    NftError::Invalid { object: object.into(), reason }
}

/// Writes the steps one after the other.
struct Writer<'a> {
    table: &'a TableId,
    features: Features,
    encoded: Encoded,
}

impl Writer<'_> {
    fn bracket(&mut self, kind: u16) -> Result<(), Unwritable> {
        // `struct nfgenmsg` with the subsystem as resource, in the network's order.
        let [high, low] = SUBSYSTEM.to_be_bytes();
        let added = self.encoded.batch.add(kind, flag::REQUEST, |message| {
            message.bytes(&[0, 0, high, low]);
        });
        added.map(drop).map_err(|_too_long| TOO_LONG)
    }

    fn operation(&mut self, index: usize, operation: &Operation) -> Result<(), NftError> {
        self.write(index, operation).map_err(|reason| invalid(operation.object(self.table), reason))
    }

    fn write(&mut self, index: usize, operation: &Operation) -> Result<(), Unwritable> {
        let own = self.table;
        match operation {
            Operation::AddTable(id, table) => {
                let object = object::table(id, Some(table))?;
                self.message(index, id.family, message::NEW_TABLE, flag::CREATE, &object)
            }
            Operation::DeleteTable(id) => {
                self.message(index, id.family, message::DEL_TABLE, 0, &object::table(id, None)?)
            }
            Operation::AddChain(chain) => {
                let object = object::chain(own, &chain.name, chain.base.as_ref())?;
                self.message(index, own.family, message::NEW_CHAIN, flag::CREATE, &object)
            }
            Operation::DeleteChain(name) => {
                let object = object::chain(own, name, None)?;
                self.message(index, own.family, message::DEL_CHAIN, 0, &object)
            }
            Operation::FlushChain(name) => {
                let object = rule::rule(own, name, None)?;
                self.message(index, own.family, message::DEL_RULE, 0, &object)
            }
            Operation::AddRule(chain, rule) => {
                let object = rule::rule(own, chain, Some(rule))?;
                self.message(index, own.family, message::NEW_RULE, flag::CREATE | flag::APPEND, &object)
            }
            Operation::DeleteRule(chain, handle) => {
                let object = rule::rule_handle(own, chain, *handle)?;
                self.message(index, own.family, message::DEL_RULE, 0, &object)
            }
            Operation::AddSet(set) => {
                // Any number does that no other set of the batch has.
                let number = self.encoded.batch.len();
                let object = object::set(own, set, number)?;
                self.message(index, own.family, message::NEW_SET, flag::CREATE, &object)
            }
            Operation::DeleteSet(name) => {
                let object = object::set_name(own, name)?;
                self.message(index, own.family, message::DEL_SET, 0, &object)
            }
            Operation::FlushSet(name) => self.encoded.add(index, message::DEL_ELEMENTS, 0, |message| {
                write_set_name(message, own, name);
            }),
            Operation::AddElements(set, list) => {
                self.elements(index, message::NEW_ELEMENTS, flag::CREATE, set, list)
            }
            Operation::DeleteElements(set, list) => self.elements(index, message::DEL_ELEMENTS, 0, set, list),
            Operation::DestroyElements(set, _) if set.interval => Err(RANGES),
            Operation::DestroyElements(set, list) => {
                let can = self.features.destroy_elements;
                let message = if can { message::DESTROY_ELEMENTS } else { message::DEL_ELEMENTS };
                self.elements(index, message, 0, set, list)
            }
        }
    }

    fn message(
        &mut self,
        operation: usize,
        family: Family,
        message: u8,
        flags: u16,
        object: &Object,
    ) -> Result<(), Unwritable> {
        let written = object.write()?;
        self.encoded.add(operation, message, flags, |message| {
            message.bytes(&family_header(family)).bytes(written.payload());
        })
    }

    fn elements(
        &mut self,
        operation: usize,
        message: u8,
        flags: u16,
        set: &Set,
        list: &ElementList,
    ) -> Result<(), Unwritable> {
        let mut left = list.entries().peekable();
        while left.peek().is_some() {
            self.encoded.add(operation, message, flags, |message| {
                write_set_name(message, self.table, &set.name);
                message.nest(element_list::ELEMENTS, |elements| {
                    while let Some(entry) = left.next_if(|_| elements.len() < MESSAGE) {
                        elements.bytes(entry);
                    }
                });
            })?;
        }
        Ok(())
    }
}

fn write_set_name(message: &mut MessageWriter<'_>, table: &TableId, set: &str) {
    message.bytes(&family_header(table.family));
    message.text(element_list::TABLE, &table.name).text(element_list::SET, set);
}

const RANGES: Unwritable = Unwritable("ranges can be deleted but not destroyed");
const TOO_LONG: Unwritable = Unwritable("it is too long");

#[cfg(test)]
mod tests;

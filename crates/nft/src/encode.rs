//! Writes a transaction as one netlink batch.
//!
//! Tables, chains, sets and rules go through libnftnl, elements are written
//! straight into the batch. Every message is remembered with the step it came
//! from, so that an answer can be put into words.

use portolan_netlink::{Batch, flag};

use crate::libnftnl::{Scratch, Unwritable};
use crate::wire::{self, SUBSYSTEM, family_header, message_kind};
use crate::{Family, Features, NftError, Operation, TableId, Transaction, describe};

mod element;
mod expression;
mod object;

pub(crate) use element::wire_count;
pub(crate) use object::{concat_type, set_flags};

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`, linux/netfilter/nfnetlink.h.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// A batch, and where each of its messages comes from.
pub(crate) struct Encoded {
    pub(crate) batch: Batch,
    /// The message that asks for an answer: the last that changes something, since kernels before
    /// 6.10 do not answer the one that ends a batch.
    pub(crate) asked: u32,
    origins: Vec<Origin>,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// The index of the step.
    pub(crate) operation: usize,
    /// For elements, how many of the step's are in earlier messages.
    pub(crate) elements_before: usize,
}

impl Encoded {
    /// Where the message of a sequence number comes from; nothing for those that bracket the batch.
    pub(crate) fn origin(&self, sequence: u32) -> Option<Origin> {
        let index = sequence.wrapping_sub(self.batch.first()).checked_sub(1)?;
        self.origins.get(usize::try_from(index).ok()?).copied()
    }

    /// The number of messages between the brackets.
    pub(crate) fn messages(&self) -> usize {
        self.origins.len()
    }
}

/// Writes `transaction` into an empty batch, for a kernel that has these features.
pub(crate) fn encode(
    transaction: &Transaction,
    features: Features,
    batch: Batch,
) -> Result<Encoded, NftError> {
    let mut writer = Writer {
        table: transaction.table(),
        features,
        scratch: Scratch::new(),
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
    scratch: Scratch,
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
        match operation {
            Operation::AddElements(set, list) => {
                self.elements(index, wire::message::NEW_ELEMENTS, flag::CREATE, set, list)
            }
            Operation::DeleteElements(set, list) => {
                self.elements(index, wire::message::DEL_ELEMENTS, 0, set, list)
            }
            Operation::DestroyElements(set, _) if set.interval => {
                Err(invalid(describe::object(operation, self.table), RANGES))
            }
            Operation::DestroyElements(set, list) => {
                let destroy = self.features.destroy_elements;
                let message =
                    if destroy { wire::message::DESTROY_ELEMENTS } else { wire::message::DEL_ELEMENTS };
                self.elements(index, message, 0, set, list)
            }
            _ => self
                .object(index, operation)
                .map_err(|reason| invalid(describe::object(operation, self.table), reason)),
        }
    }

    fn object(&mut self, index: usize, operation: &Operation) -> Result<(), Unwritable> {
        let own = self.table;
        match operation {
            Operation::AddTable(id, table) => {
                let object = object::table(id, Some(table))?;
                self.message(index, id.family, wire::message::NEW_TABLE, flag::CREATE, &object)
            }
            Operation::DeleteTable(id) => {
                self.message(index, id.family, wire::message::DEL_TABLE, 0, &object::table(id, None)?)
            }
            Operation::AddChain(chain) => {
                let object = object::chain(own, &chain.name, chain.base.as_ref())?;
                self.message(index, own.family, wire::message::NEW_CHAIN, flag::CREATE, &object)
            }
            Operation::DeleteChain(name) => {
                let object = object::chain(own, name, None)?;
                self.message(index, own.family, wire::message::DEL_CHAIN, 0, &object)
            }
            Operation::FlushChain(name) => {
                let object = object::rule(own, name, None)?;
                self.message(index, own.family, wire::message::DEL_RULE, 0, &object)
            }
            Operation::AddRule(chain, rule) => {
                let object = object::rule(own, chain, Some(rule))?;
                let flags = flag::CREATE | flag::APPEND;
                self.message(index, own.family, wire::message::NEW_RULE, flags, &object)
            }
            Operation::DeleteRule(chain, handle) => {
                let object = object::rule_handle(own, chain, *handle)?;
                self.message(index, own.family, wire::message::DEL_RULE, 0, &object)
            }
            Operation::AddSet(set) => {
                // Any number does that no other set of the batch has.
                let number = self.encoded.batch.len();
                let object = object::set(own, set, number)?;
                self.message(index, own.family, wire::message::NEW_SET, flag::CREATE, &object)
            }
            Operation::DeleteSet(name) => {
                let object = object::set_name(own, name)?;
                self.message(index, own.family, wire::message::DEL_SET, 0, &object)
            }
            Operation::FlushSet(name) => self.flush_set(index, name),
            // Written by `elements`.
            Operation::AddElements(..) | Operation::DeleteElements(..) | Operation::DestroyElements(..) => {
                Ok(())
            }
        }
    }

    fn message<K: crate::libnftnl::Kind>(
        &mut self,
        operation: usize,
        family: Family,
        message: u8,
        flags: u16,
        object: &crate::libnftnl::Object<K>,
    ) -> Result<(), Unwritable> {
        let payload = object.write(&mut self.scratch)?;
        let kind = message_kind(message);
        let added = self.encoded.batch.add(kind, flag::REQUEST | flags, |message| {
            message.bytes(&family_header(family)).bytes(payload);
        });
        added.map_err(|_too_long| TOO_LONG)?;
        self.encoded.origins.push(Origin { operation, elements_before: 0 });
        Ok(())
    }
}

const RANGES: Unwritable = Unwritable("ranges can be deleted but not destroyed");
const TOO_LONG: Unwritable = Unwritable("it is too long");

#[cfg(test)]
mod tests;

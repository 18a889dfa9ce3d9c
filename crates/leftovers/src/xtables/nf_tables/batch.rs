//! Writes removals as one transaction.
//!
//! A chain can be deleted once nothing leads to it. So the rules that lead into kube-proxy's chains go first,
//! then the rules of all those chains, which lead to each other, and then the chains.

use portolan_core::IpFamily;
use portolan_netlink::{Batch, MessageWriter, TooLong, flag};

use super::super::plan::Removal;
use super::wire;

/// One message of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Deletes one rule of somebody's chain.
    Rule { table: &'a str, chain: &'a str, handle: u64 },
    /// Deletes all rules of a chain.
    Rules { table: &'a str, chain: &'a str },
    /// Deletes a chain.
    Chain { table: &'a str, chain: &'a str },
}

/// All steps in their order.
pub(super) fn steps(removals: &[Removal<u64>]) -> impl Iterator<Item = Step<'_>> {
    removals.iter().flat_map(|removal| {
        let table = removal.table.as_str();
        let jumps = removal.jumps.iter();
        let jumps = jumps.map(move |(chain, handle)| Step::Rule { table, chain, handle: *handle });
        let rules = removal.chains.iter().map(move |chain| Step::Rules { table, chain });
        let chains = removal.chains.iter().map(move |chain| Step::Chain { table, chain });
        jumps.chain(rules).chain(chains)
    })
}

/// A transaction.
pub(super) struct Written {
    pub(super) batch: Batch,
    /// The message that asks for an answer: the last that changes something, since kernels before 6.10 do not
    /// answer the one that ends a batch.
    pub(super) asked: u32,
}

impl Written {
    /// The step of the message with this sequence number, or nothing for those that bracket the batch.
    pub(super) fn step<'a>(&self, removals: &'a [Removal<u64>], sequence: u32) -> Option<Step<'a>> {
        let index = sequence.wrapping_sub(self.batch.first()).checked_sub(1)?;
        steps(removals).nth(usize::try_from(index).ok()?)
    }
}

/// Writes removals into an empty batch.
pub(super) fn write(
    family: IpFamily,
    removals: &[Removal<u64>],
    mut batch: Batch,
) -> Result<Written, TooLong> {
    bracket(&mut batch, wire::BATCH_BEGIN)?;
    let mut asked = batch.first();
    for step in steps(removals) {
        asked = add(&mut batch, family, step)?;
    }
    batch.set_flags(asked, flag::ACK);
    bracket(&mut batch, wire::BATCH_END)?;
    Ok(Written { batch, asked })
}

fn bracket(batch: &mut Batch, kind: u16) -> Result<(), TooLong> {
    // `struct nfgenmsg` with the subsystem as resource, in the network's order.
    let [high, low] = wire::SUBSYSTEM.to_be_bytes();
    let header = |message: &mut MessageWriter<'_>| _ = message.bytes(&[0, 0, high, low]);
    batch.add(kind, flag::REQUEST, header).map(drop)
}

fn add(batch: &mut Batch, family: IpFamily, step: Step<'_>) -> Result<u32, TooLong> {
    let kind = match step {
        Step::Rule { .. } | Step::Rules { .. } => wire::DELETE_RULE,
        Step::Chain { .. } => wire::DELETE_CHAIN,
    };
    batch.add(kind, flag::REQUEST, |message| {
        message.bytes(&wire::header(family));
        match step {
            Step::Rule { table, chain, handle } => {
                message.text(wire::rule::TABLE, table).text(wire::rule::CHAIN, chain);
                message.attribute(wire::rule::HANDLE, &handle.to_be_bytes());
            }
            Step::Rules { table, chain } => {
                message.text(wire::rule::TABLE, table).text(wire::rule::CHAIN, chain);
            }
            Step::Chain { table, chain } => {
                message.text(wire::chain::TABLE, table).text(wire::chain::NAME, chain);
            }
        }
    })
}

#[cfg(test)]
mod tests;

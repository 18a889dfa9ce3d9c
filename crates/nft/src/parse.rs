//! Parses the kernel's messages about tables, chains, sets, rules and elements.
//!
//! The input is not trusted: an attribute that is missing, truncated or of a wrong
//! length makes the object unreadable, and never causes a panic. Objects that this
//! crate's types cannot express are marked as foreign or unknown, so that they never
//! compare equal to a wanted one.

use std::sync::Arc;

use portolan_netlink::{AttributeIter, Message};

use crate::wire::FAMILY_HEADER;
use crate::{
    BaseChain, Chain, ChainKind, DumpedChain, DumpedRule, Expressions, Family, Hook, Table, TableFlags,
    TableId, userdata,
};

pub(crate) mod element;
mod set;

pub(crate) use element::{ChainNames, Elements, element_at};
pub(crate) use set::{ParsedSet, set};

/// The family a message is about, of those this crate knows.
pub(crate) fn family(message: &Message<'_>) -> Option<Family> {
    Family::from_number(*message.payload.first()?)
}

/// A table as listed.
pub(crate) struct ParsedTable {
    pub(crate) id: TableId,
    pub(crate) table: Table,
    /// The port of the owner's socket.
    pub(crate) owner: Option<u32>,
}

/// `NFTA_TABLE_*`
pub(crate) fn table(message: &Message<'_>) -> Option<ParsedTable> {
    let attributes = message.attributes(FAMILY_HEADER);
    let name = attributes.find_kind(1)?.as_str()?;
    let flags = attributes.find_kind(2).and_then(|a| a.as_be32()).unwrap_or_default();
    let comment = attributes.find_kind(6).and_then(|a| userdata::comment(a.value)).map(str::to_owned);
    Some(ParsedTable {
        id: TableId::new(family(message)?, name),
        table: Table { flags: TableFlags::from_bits(flags), comment },
        owner: attributes.find_kind(7).and_then(|a| a.as_be32()),
    })
}

/// A chain without its rules, and the table it belongs to. `NFTA_CHAIN_*`
pub(crate) fn chain<'a>(message: &Message<'a>) -> Option<(&'a str, DumpedChain)> {
    let attributes = message.attributes(FAMILY_HEADER);
    let table = attributes.find_kind(1)?.as_str()?;
    let handle = attributes.find_kind(2).and_then(|a| a.as_be64()).unwrap_or_default();
    let name = attributes.find_kind(3)?.as_str()?;
    let base = attributes.find_kind(4).map(|hook| base_chain(&hook.nested(), &attributes));
    let chain = Chain { name: name.into(), base: base.flatten() };
    Some((table, DumpedChain { chain, foreign: base == Some(None), handle, rules: Vec::new() }))
}

/// `NFTA_HOOK_*`; nothing for hooks, kinds and policies this crate does not write.
fn base_chain(hook: &AttributeIter<'_>, chain: &AttributeIter<'_>) -> Option<BaseChain> {
    /// `NF_ACCEPT`
    const ACCEPT: u32 = 1;
    let policy = chain.find_kind(5).and_then(|a| a.as_be32()).unwrap_or(ACCEPT);
    let kind = match chain.find_kind(7)?.as_str()? {
        "filter" => ChainKind::Filter,
        "nat" => ChainKind::Nat,
        _ => return None,
    };
    let base = BaseChain {
        kind,
        hook: Hook::from_number(hook.find_kind(1)?.as_be32()?)?,
        priority: hook.find_kind(2)?.as_be32()?.cast_signed(),
    };
    (policy == ACCEPT).then_some(base)
}

/// A rule and the chain it belongs to. `NFTA_RULE_*`
pub(crate) fn rule(message: &Message<'_>) -> Option<(Arc<str>, DumpedRule)> {
    let attributes = message.attributes(FAMILY_HEADER);
    let chain = attributes.find_kind(2)?.as_str()?;
    let handle = attributes.find_kind(3).and_then(|a| a.as_be64()).unwrap_or_default();
    let expressions = attributes.find_kind(4).map(|list| Expressions::new(list.value));
    let comment = attributes.find_kind(7).and_then(|a| userdata::comment(a.value)).map(str::to_owned);
    Some((chain.into(), DumpedRule { expressions: expressions.unwrap_or_default(), comment, handle }))
}

#[cfg(test)]
mod tests;

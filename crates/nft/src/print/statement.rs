//! Writes statements and rules.

use std::fmt;
use std::time::Duration;

use super::shown;
use super::value::{concatenation, time, value};
use crate::{Bytes, Family, MatchOp, Rule, Selector, Statement};

impl Rule {
    /// The rule as nft writes it.
    pub fn display(&self, family: Family) -> impl fmt::Display {
        shown(move |f| {
            for (index, statement) in self.statements.iter().enumerate() {
                let before = if index == 0 { "" } else { " " };
                write!(f, "{before}{}", statement.display(family))?;
            }
            self.comment.as_ref().map_or(Ok(()), |comment| write!(f, " comment \"{comment}\""))
        })
    }
}

impl Statement {
    /// The statement as nft writes it.
    pub fn display(&self, family: Family) -> impl fmt::Display {
        shown(move |f| match self {
            Self::Match { selector, op, value: wanted } => {
                let wanted = value(wanted, selector.datatype(family));
                write!(f, "{}{} {wanted}", selector.display(family), not(*op))
            }
            Self::MatchPrefix { selector, op, value, bits } => {
                write!(f, "{}{} ", selector.display(family), not(*op))?;
                write_prefix(f, *selector, value, *bits, family)
            }
            Self::MatchBits { selector, mask, op } => write_bits(f, *selector, *mask, *op, family),
            Self::InSet { key, op, set } => write!(f, "{}{} @{set}", concatenation(key, family), not(*op)),
            Self::Vmap { key, map } => write!(f, "{} vmap @{map}", concatenation(key, family)),
            Self::DnatMap { key, map } => {
                write!(f, "dnat {family} to {} map @{map}", concatenation(key, family))
            }
            Self::DnatMapPort { key, map, port } => {
                write!(f, "dnat {family} to {} map @{map} : {port}", concatenation(key, family))
            }
            Self::UpdateMap { map, key, data, timeout } => {
                let (key, data) = (concatenation(key, family), concatenation(data, family));
                write!(f, "update @{map} {{ {key}{} : {data} }}", lifetime(*timeout))
            }
            Self::UpdateSet { set, key, timeout } => {
                write!(f, "update @{set} {{ {}{} }}", concatenation(key, family), lifetime(*timeout))
            }
            _ => self.write_action(f),
        })
    }

    fn write_action(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MarkOr(bits) => write!(f, "meta mark set meta mark | {bits:#010x}"),
            Self::MarkXor(bits) => write!(f, "meta mark set meta mark ^ {bits:#010x}"),
            Self::Masquerade { random_fully: false } => f.write_str("masquerade"),
            Self::Masquerade { random_fully: true } => f.write_str("masquerade fully-random"),
            Self::Reject => f.write_str("reject"),
            Self::RejectTcpReset => f.write_str("reject with tcp reset"),
            Self::Counter => f.write_str("counter"),
            other => other.verdict().map_or(Ok(()), |verdict| write!(f, "{verdict}")),
        }
    }
}

fn write_prefix(
    f: &mut fmt::Formatter<'_>,
    selector: Selector,
    prefix: &Bytes,
    bits: u8,
    family: Family,
) -> fmt::Result {
    let whole = value(prefix, selector.datatype(family));
    match prefix.get(..usize::from(bits) / 8) {
        _ if selector != Selector::Iifname => write!(f, "{whole}/{bits}"),
        Some(name) if name.len() + 1 < Bytes::IFNAME => write!(f, "\"{}*\"", String::from_utf8_lossy(name)),
        _ => write!(f, "{whole}"),
    }
}

fn write_bits(
    f: &mut fmt::Formatter<'_>,
    selector: Selector,
    mask: u32,
    op: MatchOp,
    family: Family,
) -> fmt::Result {
    let shown = selector.display(family);
    match (selector, op) {
        (Selector::CtState | Selector::CtStatus, MatchOp::Ne) => {
            write!(f, "{shown} {}", value(&Bytes::u32_host(mask), selector.datatype(family)))
        }
        (_, MatchOp::Ne) => write!(f, "{shown} & {mask:#010x} != 0x00000000"),
        (_, MatchOp::Eq) => write!(f, "{shown} & {mask:#010x} == 0x00000000"),
    }
}

/// How long a rule lets an element live, if it says so.
fn lifetime(timeout: Option<Duration>) -> impl fmt::Display {
    shown(move |f| timeout.map_or(Ok(()), |timeout| write!(f, " timeout {}", time(timeout))))
}

fn not(op: MatchOp) -> &'static str {
    match op {
        MatchOp::Eq => "",
        MatchOp::Ne => " !=",
    }
}

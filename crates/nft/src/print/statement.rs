//! Writes statements and rules.

use std::fmt;
use std::time::Duration;

use super::value::{Concatenation, Time, Value};
use crate::{Bytes, Family, MatchOp, Rule, Selector, Statement};

impl Rule {
    /// The rule in nft's words.
    pub fn display(&self, family: Family) -> impl fmt::Display {
        RuleDisplay { rule: self, family }
    }
}

impl Statement {
    /// The statement in nft's words.
    pub fn display(&self, family: Family) -> impl fmt::Display {
        StatementDisplay { statement: self, family }
    }
}

struct RuleDisplay<'a> {
    rule: &'a Rule,
    family: Family,
}

impl fmt::Display for RuleDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, statement) in self.rule.statements.iter().enumerate() {
            let before = if index == 0 { "" } else { " " };
            write!(f, "{before}{}", statement.display(self.family))?;
        }
        self.rule.comment.as_ref().map_or(Ok(()), |comment| write!(f, " comment \"{comment}\""))
    }
}

struct StatementDisplay<'a> {
    statement: &'a Statement,
    family: Family,
}

impl StatementDisplay<'_> {
    fn key<'a>(&self, selectors: &'a [Selector]) -> Concatenation<'a> {
        Concatenation { selectors, family: self.family }
    }

    fn value<'a>(&self, selector: Selector, value: &'a Bytes) -> Value<'a> {
        Value { bytes: value, datatype: selector.datatype(self.family) }
    }

    fn write_prefix(
        &self,
        f: &mut fmt::Formatter<'_>,
        (selector, op): (Selector, MatchOp),
        (value, bits): (&Bytes, u8),
    ) -> fmt::Result {
        write!(f, "{}{} ", selector.display(self.family), not(op))?;
        if selector == Selector::Iifname {
            return match value.get(..usize::from(bits) / 8) {
                Some(name) if name.len() + 1 < Bytes::IFNAME => {
                    write!(f, "\"{}*\"", String::from_utf8_lossy(name))
                }
                _ => write!(f, "{}", self.value(selector, value)),
            };
        }
        write!(f, "{}/{bits}", self.value(selector, value))
    }

    fn write_bits(
        &self,
        f: &mut fmt::Formatter<'_>,
        selector: Selector,
        mask: u32,
        op: MatchOp,
    ) -> fmt::Result {
        let shown = selector.display(self.family);
        match (selector, op) {
            (Selector::CtState | Selector::CtStatus, MatchOp::Ne) => {
                write!(f, "{shown} {}", self.value(selector, &Bytes::u32_host(mask)))
            }
            (_, MatchOp::Ne) => write!(f, "{shown} & {mask:#010x} != 0x00000000"),
            (_, MatchOp::Eq) => write!(f, "{shown} & {mask:#010x} == 0x00000000"),
        }
    }

    fn write_action(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.statement {
            Statement::MarkOr(bits) => write!(f, "meta mark set meta mark | {bits:#010x}"),
            Statement::MarkXor(bits) => write!(f, "meta mark set meta mark ^ {bits:#010x}"),
            Statement::MarkAnd(bits) => write!(f, "meta mark set meta mark & {bits:#010x}"),
            Statement::Masquerade { random_fully: false } => f.write_str("masquerade"),
            Statement::Masquerade { random_fully: true } => f.write_str("masquerade fully-random"),
            Statement::Reject => f.write_str("reject"),
            Statement::RejectTcpReset => f.write_str("reject with tcp reset"),
            Statement::Counter => f.write_str("counter"),
            other => other.verdict().map_or(Ok(()), |verdict| write!(f, "{verdict}")),
        }
    }
}

impl fmt::Display for StatementDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.statement {
            Statement::Match { selector, op, value } => {
                let shown = selector.display(self.family);
                write!(f, "{shown}{} {}", not(*op), self.value(*selector, value))
            }
            Statement::MatchPrefix { selector, op, value, bits } => {
                self.write_prefix(f, (*selector, *op), (value, *bits))
            }
            Statement::MatchBits { selector, mask, op } => self.write_bits(f, *selector, *mask, *op),
            Statement::InSet { key, op, set } => write!(f, "{}{} @{set}", self.key(key), not(*op)),
            Statement::Vmap { key, map } => write!(f, "{} vmap @{map}", self.key(key)),
            Statement::DnatMap { key, map } => {
                write!(f, "dnat {} to {} map @{map}", self.family, self.key(key))
            }
            Statement::DnatMapPort { key, map, port } => {
                write!(f, "dnat {} to {} map @{map} : {port}", self.family, self.key(key))
            }
            Statement::UpdateMap { map, key, data, timeout } => {
                let (key, data) = (self.key(key), self.key(data));
                write!(f, "update @{map} {{ {key}{} : {data} }}", Lifetime(*timeout))
            }
            Statement::UpdateSet { set, key, timeout } => {
                write!(f, "update @{set} {{ {}{} }}", self.key(key), Lifetime(*timeout))
            }
            _ => self.write_action(f),
        }
    }
}

/// What a rule says about how long an element lives, if it does.
struct Lifetime(Option<Duration>);

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |timeout| write!(f, " timeout {}", Time(timeout)))
    }
}

fn not(op: MatchOp) -> &'static str {
    match op {
        MatchOp::Eq => "",
        MatchOp::Ne => " !=",
    }
}

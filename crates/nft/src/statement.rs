//! Statements and rules, as nft writes them.
//!
//! The kernel knows only expressions over registers, several for one statement. [`Rule::expressions`](crate::Rule::expressions)
//! converts.

use std::sync::Arc;
use std::time::Duration;

use crate::{Bytes, Selector, Verdict};

/// How a match compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// Equal, or contained.
    Eq,
    /// Different, or not contained.
    Ne,
}

/// One part of a rule: a condition that ends the rule when it fails, or an action.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Statement {
    /// `ip daddr 192.0.2.1`, `iifname != "lo"`, `meta l4proto tcp`
    Match {
        /// What to load.
        selector: Selector,
        /// How to compare it.
        op: MatchOp,
        /// A value alone, of the selector's length.
        value: Bytes,
    },
    /// `ip daddr != 127.0.0.0/8`, `iifname "veth*"`
    MatchPrefix {
        /// An address or [`Selector::Iifname`].
        selector: Selector,
        /// How to compare it.
        op: MatchOp,
        /// A value of the selector's length; bits after the first `bits` are ignored.
        value: Bytes,
        /// How many leading bits count; for a name eight for each letter before the star, of which
        /// there must be one. A name has fifteen letters at most, so that fifteen are a whole name
        /// and are written as one.
        bits: u8,
    },
    /// `ct state new`, `ct status dnat`, `meta mark & 0x4000 != 0`
    MatchBits {
        /// A selector of four bytes in the host's order.
        selector: Selector,
        /// The bits to look at.
        mask: u32,
        /// [`MatchOp::Ne`]: at least one of them is set. [`MatchOp::Eq`]: none is.
        op: MatchOp,
    },
    /// `ip saddr != @pod-cidrs`, `ip saddr . ip daddr @hairpin`
    InSet {
        /// What to look up.
        key: Vec<Selector>,
        /// Whether it must be in the set.
        op: MatchOp,
        /// The set's name.
        set: Arc<str>,
    },
    /// `ip daddr . meta l4proto . th dport vmap @services`
    Vmap {
        /// What to look up; a key without an element lets the rule end.
        key: Vec<Selector>,
        /// The verdict map's name.
        map: Arc<str>,
    },
    /// `dnat ip to ip daddr . meta l4proto . th dport map @endpoints`
    DnatMap {
        /// What to look up; a key without an element lets the rule end.
        key: Vec<Selector>,
        /// A map whose data is an address and a port.
        map: Arc<str>,
    },
    /// `dnat ip to ip saddr map @affinity : 8080`. Needs a match on the protocol earlier in the
    /// rule, or nft refuses to load what it has listed. nft lists it as `@affinity:8080`, which it
    /// reads as an IPv6 address if the map's name is made of hexadecimal digits alone.
    DnatMapPort {
        /// What to look up; a key without an element lets the rule end.
        key: Vec<Selector>,
        /// A map whose data is an address alone.
        map: Arc<str>,
        /// The port, the same for every element.
        port: u16,
    },
    /// `update @affinity { ct original ip saddr timeout 3h : ip daddr }`
    ///
    /// nft 1.0.6 aborts when it loads one whose data is an IPv6 address with something more.
    UpdateMap {
        /// A dynamic map.
        map: Arc<str>,
        /// The key to add or refresh.
        key: Vec<Selector>,
        /// What to remember for it.
        data: Vec<Selector>,
        /// How long, from now on; without one as long as the map says.
        timeout: Option<Duration>,
    },
    /// `update @seen { ip saddr timeout 1m }`
    UpdateSet {
        /// A dynamic set.
        set: Arc<str>,
        /// The key to add or refresh.
        key: Vec<Selector>,
        /// How long to keep it, from now on; without one as long as the set says.
        timeout: Option<Duration>,
    },
    /// `meta mark set meta mark | 0x4000`
    MarkOr(u32),
    /// `meta mark set meta mark ^ 0x4000`
    MarkXor(u32),
    /// `masquerade`, in postrouting nat chains.
    Masquerade {
        /// Whether source ports are drawn at random (`fully-random`).
        random_fully: bool,
    },
    /// `reject`: drop, and answer that the port is unreachable.
    Reject,
    /// `reject with tcp reset`: drop, and close the connection to be. Needs `meta l4proto tcp`
    /// earlier in the rule.
    RejectTcpReset,
    /// `drop`
    Drop,
    /// `accept`
    Accept,
    /// `return`
    Return,
    /// `jump chain`
    Jump(Arc<str>),
    /// `goto chain`
    Goto(Arc<str>),
    /// `counter`: counts packets and bytes that come this far.
    Counter,
}

impl Statement {
    /// The verdict, when the statement is nothing but one.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Drop => Some(Verdict::Drop),
            Self::Accept => Some(Verdict::Accept),
            Self::Return => Some(Verdict::Return),
            Self::Jump(chain) => Some(Verdict::Jump(Arc::clone(chain))),
            Self::Goto(chain) => Some(Verdict::Goto(Arc::clone(chain))),
            _ => None,
        }
    }

    /// The set or map the statement reads or fills.
    pub fn set(&self) -> Option<&Arc<str>> {
        match self {
            Self::InSet { set, .. } | Self::UpdateSet { set, .. } => Some(set),
            Self::Vmap { map, .. }
            | Self::DnatMap { map, .. }
            | Self::DnatMapPort { map, .. }
            | Self::UpdateMap { map, .. } => Some(map),
            _ => None,
        }
    }
}

/// Statements that run one after the other until a condition fails or a verdict is met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What the rule says, in order.
    pub statements: Vec<Statement>,
    /// A remark for the reader of `nft list ruleset`; at most [`crate::COMMENT_MAX`] bytes.
    pub comment: Option<String>,
}

impl Rule {
    /// A rule without a comment.
    pub fn new(statements: impl Into<Vec<Statement>>) -> Self {
        Self { statements: statements.into(), comment: None }
    }

    /// The same rule with a comment.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }
}

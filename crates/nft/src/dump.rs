//! Tables as read back.

use std::sync::Arc;

use crate::{Chain, ElementList, Expressions, Rule, Set, Table, TableId};

/// A whole table, read at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDump {
    /// Which table.
    pub id: TableId,
    /// Its flags and comment.
    pub table: Table,
    /// Its owner.
    pub owner: Owner,
    /// Its chains with their rules, in the order of their creation.
    pub chains: Vec<DumpedChain>,
    /// Its sets and maps with their elements, in the order of their creation.
    pub sets: Vec<DumpedSet>,
}

/// The owner of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// No owner: every privileged process may change it.
    None,
    /// Only the socket that read the dump.
    Us,
    /// Only another socket.
    Other {
        /// The port number of that socket; often the process id of its owner.
        port: u32,
    },
}

impl TableDump {
    /// The chain of this name.
    pub fn chain(&self, name: &str) -> Option<&DumpedChain> {
        self.chains.iter().find(|chain| &*chain.chain.name == name)
    }

    /// The set or map of this name.
    pub fn set(&self, name: &str) -> Option<&DumpedSet> {
        self.sets.iter().find(|set| &*set.name == name)
    }
}

/// A chain with its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct DumpedChain {
    /// Name and hook. A base chain of a kind or hook this crate does not use has
    /// [`foreign`](Self::foreign) set.
    pub chain: Chain,
    /// The chain has a hook that [`Chain`] cannot express, or has a policy other than accept.
    pub foreign: bool,
    /// The kernel's number for it.
    pub handle: u64,
    /// The rules in order.
    pub rules: Vec<DumpedRule>,
}

impl DumpedChain {
    /// Whether the kernel calls it at a hook.
    pub fn is_base(&self) -> bool {
        self.foreign || self.chain.base.is_some()
    }

    /// Whether the chain has the hook of `chain` and exactly these rules, comments included.
    pub fn holds(&self, chain: &Chain, rules: &[Rule], family: crate::Family) -> bool {
        !self.foreign
            && self.chain == *chain
            && self.rules.len() == rules.len()
            && self.rules.iter().zip(rules).all(|(loaded, wanted)| loaded.is(wanted, family))
    }
}

/// A rule as the kernel stores it.
#[derive(Debug, Clone, PartialEq)]
pub struct DumpedRule {
    /// Its expressions.
    pub expressions: Expressions,
    /// Its comment.
    pub comment: Option<String>,
    /// The kernel's number for it.
    pub handle: u64,
}

impl DumpedRule {
    /// Whether this is the wanted rule, comment included.
    pub fn is(&self, wanted: &Rule, family: crate::Family) -> bool {
        self.comment == wanted.comment
            && wanted.expressions(family).is_ok_and(|wanted| self.expressions == wanted)
    }
}

/// A rule that leads to another chain, whatever it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpRule {
    /// The chain that it is in.
    pub chain: Arc<str>,
    /// The kernel's number for it.
    pub handle: u64,
    /// The chain that it leads to, by a jump or a goto.
    pub target: Arc<str>,
}

/// A set or map with its elements.
#[derive(Debug, Clone, PartialEq)]
pub struct DumpedSet {
    /// The name.
    pub name: Arc<str>,
    /// Its shape, when it is one that this crate can express. A set that was made
    /// without `typeof`, or with selectors unknown here, has none; nor has one with elements
    /// that cannot be expressed, such as a catch-all, and these are left out of `elements`.
    pub set: Option<Arc<Set>>,
    /// The kernel's number for it.
    pub handle: u64,
    /// The elements, in no particular order and each once. Interval sets give one element per range.
    pub elements: ElementList,
}

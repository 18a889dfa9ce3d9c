//! Chains, and the hooks of base chains.

use std::fmt;
use std::sync::Arc;

/// The type of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainKind {
    /// Accepts, drops, rejects.
    Filter,
    /// Sees only a connection's first packet and may translate addresses.
    Nat,
}

impl ChainKind {
    /// The name in the kernel and in nft.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

/// The hook that a base chain is called from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// On arrival, before routing.
    Prerouting,
    /// For this host.
    Input,
    /// Passing through.
    Forward,
    /// Sent by this host, after its first routing.
    Output,
    /// Just before it leaves.
    Postrouting,
}

impl Hook {
    /// `NF_INET_PRE_ROUTING` … `NF_INET_POST_ROUTING`, linux/netfilter.h.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The hook of a kernel number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Prerouting),
            1 => Some(Self::Input),
            2 => Some(Self::Forward),
            3 => Some(Self::Output),
            4 => Some(Self::Postrouting),
            _ => None,
        }
    }

    /// The name in nft.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

/// What makes a chain a base chain. Its policy is always accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BaseChain {
    /// The chain's type.
    pub kind: ChainKind,
    /// Where it is called.
    pub hook: Hook,
    /// Its place among the chains of one hook, lowest first; dstnat is -100, filter 0, srcnat 100.
    pub priority: i32,
}

/// The priority at which destinations are translated: `NF_IP_PRI_NAT_DST`, linux/netfilter_ipv4.h.
pub const PRIORITY_DSTNAT: i32 = -100;
/// The priority of ordinary filtering: `NF_IP_PRI_FILTER`.
pub const PRIORITY_FILTER: i32 = 0;
/// The priority at which sources are translated: `NF_IP_PRI_NAT_SRC`.
pub const PRIORITY_SRCNAT: i32 = 100;

/// A chain without its rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chain {
    /// The name, unique among the table's chains.
    pub name: Arc<str>,
    /// Where the chain is called from outside; without it only jumps reach the chain.
    pub base: Option<BaseChain>,
}

impl Chain {
    /// A chain that only jumps reach.
    pub fn regular(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), base: None }
    }

    /// A chain called at a hook.
    pub fn base(name: impl Into<Arc<str>>, kind: ChainKind, hook: Hook, priority: i32) -> Self {
        Self { name: name.into(), base: Some(BaseChain { kind, hook, priority }) }
    }
}

impl fmt::Display for BaseChain {
    /// `type nat hook prerouting priority -100; policy accept;`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, hook) = (self.kind.as_str(), self.hook.as_str());
        write!(f, "type {kind} hook {hook} priority {}; policy accept;", self.priority)
    }
}

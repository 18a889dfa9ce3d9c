//! Verdicts of rules and verdict maps.

use std::fmt;
use std::sync::Arc;

/// A verdict of a rule or a verdict map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Ends this base chain; later ones still see the packet.
    Accept,
    /// Drops the packet.
    Drop,
    /// Back to the calling chain.
    Return,
    /// To another chain, and back here when that one ends.
    Jump(Arc<str>),
    /// To another chain, and from there back to this one's caller.
    Goto(Arc<str>),
}

impl Verdict {
    /// The chain this verdict leads to.
    pub fn target(&self) -> Option<&Arc<str>> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept | Self::Drop | Self::Return => None,
        }
    }

    /// `NF_DROP`, `NF_ACCEPT` (linux/netfilter.h), `NFT_RETURN`, `NFT_JUMP`, `NFT_GOTO`
    /// (linux/netfilter/nf_tables.h).
    pub const fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
        }
    }

    /// The verdict of a kernel code; none for codes this crate does not use.
    pub fn from_code(code: i32, chain: Option<Arc<str>>) -> Option<Self> {
        match (code, chain) {
            (0, None) => Some(Self::Drop),
            (1, None) => Some(Self::Accept),
            (-5, None) => Some(Self::Return),
            (-3, Some(chain)) => Some(Self::Jump(chain)),
            (-4, Some(chain)) => Some(Self::Goto(chain)),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

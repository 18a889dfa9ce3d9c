//! Rules by their meaning, which does not depend on their spelling.
//!
//! kube-proxy's rules use few matches, and none twice. So a rule is a struct with a field for each, and two rules are
//! equal if their fields are, whatever the order of the words. Comments are separate: they do not affect packets.
//!
//! A rule borrows and does not allocate, because tens of thousands are created only to be written or compared.

mod parse;
mod write;

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use ipnet::IpNet;
use portolan_core::Protocol;

use crate::comment::Comment;
use crate::names::Chain;

pub use parse::{parse, words};

/// A rule: a comment, matches and a target.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rule<'a> {
    /// Its comment.
    pub comment: Comment<'a>,
    /// Its matches and its target.
    pub body: Body<'a>,
}

/// Matches, which must all hold, and the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Body<'a> {
    /// `-m addrtype --src-type LOCAL`.
    pub from_this_node: bool,
    /// `-m addrtype --dst-type LOCAL`.
    pub to_this_node: bool,
    /// `-m statistic --mode random`.
    pub probability: Option<Probability>,
    /// `-m recent`.
    pub recent: Option<Recent>,
    /// `-p`.
    pub protocol: Option<Protocol>,
    /// `-d`.
    pub destination: Option<Is<IpNet>>,
    /// `--dport`.
    pub destination_port: Option<u16>,
    /// `-s`.
    pub source: Option<Is<IpNet>>,
    /// `-i`.
    pub interface: Option<Is<Interface<'a>>>,
    /// `-m mark`.
    pub mark: Option<Is<Mark>>,
    /// `-m conntrack --ctstate`.
    pub state: Option<Is<States>>,
    /// `-m nfacct --nfacct-name`.
    pub counter: Option<&'a str>,
    /// `-j`.
    pub target: Option<Target>,
}

/// A value that a packet must or must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Is<T> {
    /// It must.
    Just(T),
    /// It must not.
    Not(T),
}

impl<T> Is<T> {
    /// The opposite.
    #[must_use]
    pub fn inverted(self) -> Self {
        match self {
            Self::Just(value) => Self::Not(value),
            Self::Not(value) => Self::Just(value),
        }
    }
}

/// One less than `IFNAMSIZ` of `linux/if.h`, for the final zero.
const MAX_INTERFACE: usize = 15;

/// The incoming interface. A plus at the end matches any rest of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interface<'a> {
    /// Its name, or a prefix of it.
    name: &'a str,
    is_prefix: bool,
}

impl<'a> Interface<'a> {
    /// An interface as it is spelled in a rule.
    pub fn parse(name: &'a str) -> Self {
        let prefix = name.strip_suffix('+');
        Self { name: prefix.unwrap_or(name), is_prefix: prefix.is_some() }
    }

    /// All interfaces with this prefix.
    pub fn with_prefix(prefix: &'a str) -> Self {
        // The programs reject a full name with a plus as too long.
        Self { name: prefix, is_prefix: prefix.len() < MAX_INTERFACE }
    }
}

/// `value/mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The bits of the mark.
    pub value: u32,
    /// The bits that are compared or changed.
    pub mask: u32,
}

impl Mark {
    /// These bits, all set.
    pub fn bits(bits: u32) -> Self {
        Self { value: bits, mask: bits }
    }
}

/// Connection tracking states, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct States(u8);

impl States {
    /// Starts a connection.
    pub const NEW: Self = Self(1);
    /// Belongs to no connection and starts none.
    pub const INVALID: Self = Self(2);
    /// Starts a connection that belongs to another.
    pub const RELATED: Self = Self(4);
    /// Belongs to a connection.
    pub const ESTABLISHED: Self = Self(8);
    /// Its destination was translated.
    pub const DNAT: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::NEW, "NEW"),
        (Self::INVALID, "INVALID"),
        (Self::RELATED, "RELATED"),
        (Self::ESTABLISHED, "ESTABLISHED"),
        (Self::DNAT, "DNAT"),
    ];

    /// The states of both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A probability of `-m statistic`. Two are equal if the kernel stores the same value.
#[derive(Debug, Clone, Copy)]
pub struct Probability {
    written: f64,
    /// In units of 2⁻³¹: `xt_statistic_info` of `linux/netfilter/xt_statistic.h`.
    kernel: u32,
}

impl Probability {
    /// `1 / n`.
    pub fn one_in(n: u32) -> Self {
        let probability = 1.0 / f64::from(n.max(1));
        // As it is written: with ten decimals.
        Self::of((probability * 1e10).round() / 1e10)
    }

    fn of(probability: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "casts of floats saturate, as intended"
        )]
        let kernel = (probability * f64::from(1_u32 << 31)).round() as u32;
        Self { written: probability, kernel }
    }
}

impl PartialEq for Probability {
    fn eq(&self, other: &Self) -> bool {
        self.kernel == other.kernel
    }
}

impl Eq for Probability {}

impl Hash for Probability {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kernel.hash(state);
    }
}

/// A list of client addresses in the kernel, named after the chain of their endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recent {
    /// The chain that the list is named after.
    pub list: Chain,
    /// What the rule does with it.
    pub action: RecentAction,
}

/// What a rule does with a list of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecentAction {
    /// Adds the client, or updates its time.
    Set,
    /// Matches if the client was seen within so many seconds, and removes older ones.
    SeenWithin(u64),
}

impl From<Chain> for Target {
    fn from(chain: Chain) -> Self {
        Self::Jump(chain)
    }
}

/// What happens to a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Continues in another chain, and returns.
    Jump(Chain),
    /// Accepts it.
    Accept,
    /// Drops it.
    Drop,
    /// Returns to the calling chain.
    Return,
    /// Drops it and sends an ICMP error to the client.
    Reject,
    /// Changes its mark: clears the bits of the mask, then inverts those of the value.
    SetXmark(Mark),
    /// Replaces its source address by one of this node.
    Masquerade {
        /// Also chooses a random port.
        random_fully: bool,
    },
    /// Changes its destination.
    Dnat(SocketAddr),
}

#[cfg(test)]
mod tests;

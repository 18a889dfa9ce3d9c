//! A rule as what it means, which is the same however it is spelled.
//!
//! kube-proxy's rules use few matches, and none twice. So a rule is a struct with a field for each, and two
//! rules are equal when their fields are, in whatever order the words stood. Comments stand apart: they
//! mean nothing to a packet.
//!
//! A rule borrows and allocates nothing, because tens of thousands are made only to be written or compared.

mod parse;
mod write;

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use ipnet::IpNet;
use portolan_core::Protocol;

use crate::comment::Comment;
use crate::names::Chain;

pub use parse::{parse, words};

/// A rule: a comment, and what it does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rule<'a> {
    /// What it says about itself.
    pub comment: Comment<'a>,
    /// What it does.
    pub body: Body<'a>,
}

/// What a rule does: all matches that are there must hold, and then the target is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Body<'a> {
    /// `-m addrtype --src-type LOCAL`.
    pub from_this_node: bool,
    /// `-m addrtype --dst-type LOCAL`.
    pub to_this_node: bool,
    /// `-m statistic --mode random`.
    pub chance: Option<Chance>,
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

/// A value that a packet must have, or must not.
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
const LONGEST_INTERFACE: usize = 15;

/// The interface that a packet came in through. A plus at the end stands for the rest of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interface<'a> {
    /// Its name, or how that begins.
    name: &'a str,
    is_prefix: bool,
}

impl<'a> Interface<'a> {
    /// The one that these words of a rule stand for.
    pub fn called(name: &'a str) -> Self {
        let prefix = name.strip_suffix('+');
        Self { name: prefix.unwrap_or(name), is_prefix: prefix.is_some() }
    }

    /// Every one whose name begins like this.
    pub fn beginning(prefix: &'a str) -> Self {
        // A whole name: the programs would find a plus behind it too long.
        Self { name: prefix, is_prefix: prefix.len() < LONGEST_INTERFACE }
    }
}

/// `value/mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The bits of the mark.
    pub value: u32,
    /// The bits that are looked at, or changed.
    pub mask: u32,
}

impl Mark {
    /// All these bits, looked at alone.
    pub fn bits(bits: u32) -> Self {
        Self { value: bits, mask: bits }
    }
}

/// States of connection tracking, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct States(u8);

impl States {
    /// Begins a connection.
    pub const NEW: Self = Self(1);
    /// Belongs to none and begins none.
    pub const INVALID: Self = Self(2);
    /// Belongs to something that belongs to one.
    pub const RELATED: Self = Self(4);
    /// Belongs to one.
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

    /// These states and others.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One in so many, drawn at random. Two are equal when the kernel cannot tell them apart.
#[derive(Debug, Clone, Copy)]
pub struct Chance {
    /// The text that says it.
    parts: f64,
    /// In units of 2⁻³¹: `xt_statistic_info` of `linux/netfilter/xt_statistic.h`.
    kernel: u32,
}

impl Chance {
    /// One in so many.
    pub fn one_in(parts: u32) -> Self {
        let probability = 1.0 / f64::from(parts.max(1));
        // As it is written: with ten decimals.
        Self::of((probability * 1e10).round() / 1e10)
    }

    fn of(probability: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a float ends at the limits of the integer, which is what is meant"
        )]
        let kernel = (probability * f64::from(1_u32 << 31)).round() as u32;
        Self { parts: probability, kernel }
    }
}

impl PartialEq for Chance {
    fn eq(&self, other: &Self) -> bool {
        self.kernel == other.kernel
    }
}

impl Eq for Chance {}

impl Hash for Chance {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kernel.hash(state);
    }
}

/// A list of clients that the kernel keeps, called like the chain of the endpoint that they had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recent {
    /// The chain whose name the list has.
    pub list: Chain,
    /// What is done with it.
    pub action: RecentAction,
}

/// What a rule does with a list of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecentAction {
    /// Puts the client in, or says that it was seen just now.
    Set,
    /// Asks whether the client was seen within so many seconds, and forgets those that were not.
    SeenWithin(u64),
}

impl From<Chain> for Target {
    fn from(chain: Chain) -> Self {
        Self::Jump(chain)
    }
}

/// What becomes of a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// It goes on in another chain, and comes back.
    Jump(Chain),
    /// It is let through.
    Accept,
    /// It vanishes.
    Drop,
    /// It goes back to where it came from.
    Return,
    /// Its sender is told that nobody serves there.
    Reject,
    /// Its mark changes: the bits of the mask are cleared, then those of the value inverted.
    SetXmark(Mark),
    /// It gets this node's source address.
    Masquerade {
        /// And a random port.
        random_fully: bool,
    },
    /// It goes to this endpoint.
    Dnat(SocketAddr),
}

#[cfg(test)]
mod tests;

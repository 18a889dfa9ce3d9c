//! Follows pretended packets through tables in memory and says what becomes of them.
//!
//! The [`Tracer`] interprets every statement that `portolan-nft` can write, as the kernel would,
//! and knows nothing of any particular layout. Around the tables it pretends a [`Host`], its
//! routing and its connection tracking:
//!
//! ```text
//! arriving ─▶ prerouting ─┬─▶ input                        (to the node itself)
//!                         └─▶ forward ─▶ postrouting       (to elsewhere)
//! sent ─▶ output ─▶ postrouting ─┬─▶ prerouting ─▶ input   (to the node itself, by lo)
//!                                └─▶                       (to elsewhere)
//! ```
//!
//! Always holds: every number that `numgen random` may draw is tried, so [`Outcomes`] are all that
//! can happen, with exact probabilities; the tables stay as they are, and what a packet would put
//! into dynamic sets is part of its outcome, to be passed to the next packet's trace with
//! [`Tracer::after`]; what cannot be interpreted is an error and never a guess.
//!
//! ```
//! use portolan_core::Protocol;
//! use portolan_testkit::fake::FakeTables;
//! use portolan_testkit::trace::{Host, Packet, Tracer};
//!
//! let (tables, host) = (FakeTables::new(), Host::new("eth0"));
//! let (client, server) = ("192.0.2.1:4000".parse().unwrap(), "198.51.100.1:80".parse().unwrap());
//! let outcomes = Tracer::new(&tables, &host).trace(&Packet::arriving(Protocol::Tcp, client, server));
//! assert!(outcomes.unwrap().is_untouched());
//! ```
//!
//! Beyond it: replies and ICMP, chains that other families' tables hang on these hooks, packets
//! that connection tracking finds invalid, and all routes but "to the node or to elsewhere".

use std::net::SocketAddr;
use std::sync::Arc;

use portolan_nft::{Selector, TableId};

use crate::fake::FakeTables;

mod chain;
mod flow;
mod hook;
mod host;
mod journey;
mod outcome;
mod packet;
mod path;
mod probability;
mod set;
mod statement;
#[cfg(test)]
mod tests;
mod weighted;
mod work;

pub use host::Host;
pub use outcome::{Fate, Learned, Novelty, Outcome, Outcomes, Refusal};
pub use packet::{Connection, Origin, Packet, Source, Translation};
pub use path::Step;
pub use probability::Probability;
pub use work::Work;

/// Why a packet cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Both addresses of a packet are of one family.
    #[error("no packet goes from {from} to {to}")]
    MixedFamilies {
        /// The source.
        from: SocketAddr,
        /// The destination.
        to: SocketAddr,
    },
    /// A rule is not what the kernel would take, or more than can be tried.
    #[error("rule \"{rule}\" cannot be followed: {reason}")]
    Malformed {
        /// The rule in nft's words.
        rule: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A rule leads to something that is not there.
    #[error("table {table} has no {object}")]
    Missing {
        /// The table.
        table: TableId,
        /// The chain or set.
        object: Arc<str>,
    },
    /// A rule asks for something that the kernel decides on its own, such as the source port of a
    /// masqueraded packet.
    #[error("{selector:?} of a masqueraded packet is unknown")]
    Unknown {
        /// What it asks for.
        selector: Selector,
    },
    /// The tracer was not taught this selector yet.
    #[error("the tracer cannot load {selector:?} yet")]
    NewSelector {
        /// The selector.
        selector: Selector,
    },
    /// A probability is no fraction of 64-bit numbers: too many different draws in a row.
    #[error("a probability exceeds 64 bits")]
    TooFine,
}

/// Follows packets through tables.
#[derive(Debug, Clone)]
pub struct Tracer<'t> {
    tables: &'t FakeTables,
    host: &'t Host,
    known: Vec<Learned>,
}

impl<'t> Tracer<'t> {
    /// A tracer through `tables` on `host`; no packet has come by yet.
    pub fn new(tables: &'t FakeTables, host: &'t Host) -> Self {
        Self { tables, host, known: Vec::new() }
    }

    /// The same, after a packet that had this outcome: what it learned is in place.
    #[must_use]
    pub fn after(self, outcome: &Outcome) -> Self {
        self.knowing(&outcome.learned)
    }

    /// The same with these elements in place besides those that the tables hold.
    #[must_use]
    pub fn knowing<'a>(mut self, learned: impl IntoIterator<Item = &'a Learned>) -> Self {
        self.known.extend(learned.into_iter().cloned());
        self
    }

    /// All that may become of `packet`.
    ///
    /// # Errors
    /// The packet or a rule on its way makes no sense, or asks for what is unknown.
    pub fn trace(&self, packet: &Packet) -> Result<Outcomes, TraceError> {
        journey::trace(self, packet)
    }
}

//! Packets to be traced, and the connections they belong to.

use std::net::SocketAddr;
use std::sync::Arc;

use portolan_core::Protocol;

use super::{Fate, Outcome};

/// Where a packet comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From elsewhere, by the interface that the [`Host`](super::Host) expects its source behind.
    Arriving,
    /// From elsewhere, by this interface.
    ArrivingBy(Arc<str>),
    /// From a program on the node itself.
    Sent,
}

/// What the receiver sees as the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The address and port that the packet came with.
    Kept,
    /// An address of the node, and a port of its choice.
    Masqueraded,
}

/// How a connection's packets are changed on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Translation {
    /// Where they go instead, if elsewhere.
    pub destination: Option<SocketAddr>,
    /// Whom they seem to come from.
    pub source: Source,
}

/// What connection tracking knows when the packet comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: the packet is the first of its connection.
    First,
    /// Earlier packets had no reply: the state is still new, the translation decided.
    Unanswered(Translation),
    /// There was a reply.
    Established(Translation),
}

/// A packet in the direction from client to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its transport protocol.
    pub protocol: Protocol,
    /// Who sends it.
    pub source: SocketAddr,
    /// Whom it is sent to.
    pub destination: SocketAddr,
    /// Where it enters the node's tables.
    pub origin: Origin,
    /// The mark it enters with; the kernel's is 0.
    pub mark: u32,
    /// The connection it belongs to.
    pub connection: Connection,
}

impl Packet {
    /// The first packet of a connection from elsewhere.
    pub fn arriving(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Self {
        let (origin, connection) = (Origin::Arriving, Connection::First);
        Self { protocol, source, destination, origin, mark: 0, connection }
    }

    /// The first packet of a connection that the node itself opens.
    pub fn sent(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Self {
        Self { origin: Origin::Sent, ..Self::arriving(protocol, source, destination) }
    }

    /// The same packet by another interface than its source would suggest.
    #[must_use]
    pub fn by_interface(mut self, name: &str) -> Self {
        self.origin = Origin::ArrivingBy(name.into());
        self
    }

    /// The same packet with a mark that it got before.
    #[must_use]
    pub fn with_mark(mut self, mark: u32) -> Self {
        self.mark = mark;
        self
    }

    /// Another packet of the connection that this one opened with `outcome`, before any answer.
    ///
    /// A packet that did not get through leaves no connection behind, and the next one is a first
    /// one again.
    #[must_use]
    pub fn unanswered(&self, outcome: &Outcome) -> Self {
        self.following(outcome, Connection::Unanswered)
    }

    /// Another packet of the connection that this one opened with `outcome`, after an answer.
    ///
    /// A packet that did not get through leaves no connection behind, and the next one is a first
    /// one again.
    #[must_use]
    pub fn established(&self, outcome: &Outcome) -> Self {
        self.following(outcome, Connection::Established)
    }

    fn following(&self, outcome: &Outcome, connection: fn(Translation) -> Connection) -> Self {
        let connection = match outcome.fate {
            Fate::Delivered { .. } => connection(outcome.translation),
            Fate::Refused(_) | Fate::Dropped => Connection::First,
        };
        Self { connection, ..self.clone() }
    }
}

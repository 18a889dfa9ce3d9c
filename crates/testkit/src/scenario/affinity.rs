//! Clients that come again, and what they had.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::{IpFamily, Protocol};

use super::check::{Check, Traffic};
use super::expectation::Target;
use super::packet::{Packet, Sender};

/// Clients that come again and again.
#[derive(Debug, Clone)]
pub struct ReturningClients {
    /// The name that what they have is kept by.
    pub memory: &'static str,
    /// Who comes, and by which ways. All ways of one sender, family and protocol lead to one endpoint.
    pub traffic: Traffic,
    /// Whom they may have.
    pub among: BTreeSet<Target>,
    /// How often each comes by each way.
    pub times: u32,
}

impl ReturningClients {
    pub(super) fn new(traffic: Traffic, memory: &'static str, among: BTreeSet<Target>) -> Self {
        Self { memory, traffic, among, times: 6 }
    }

    /// Each comes so often by each way.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// At least one has another endpoint than before.
    pub fn but_some_moved(self) -> Check {
        Check::SomeMoved(self)
    }
}

impl From<ReturningClients> for Check {
    fn from(comers: ReturningClients) -> Self {
        Self::Stay(comers)
    }
}

/// The endpoint of each client, as far as has been seen.
#[derive(Debug, Clone, Default)]
pub struct Memory(BTreeMap<Key, Target>);

/// Memory, sender in an order that does not depend on the family, protocol, family.
type Key = (&'static str, String, Protocol, IpFamily);

impl Memory {
    /// The endpoint that the sender of `packet` has had and must come to again.
    pub fn had(&self, comers: &ReturningClients, packet: &Packet) -> Option<Target> {
        self.0.get(&key(comers.memory, packet)).copied().filter(|target| comers.among.contains(target))
    }

    /// The sender has this endpoint from now on. Returns the one it had before, if any.
    pub fn has(&mut self, comers: &ReturningClients, packet: &Packet, target: Target) -> Option<Target> {
        self.0.insert(key(comers.memory, packet), target)
    }

    /// Whether two clients have different endpoints.
    pub fn is_spread(&self, memory: &str) -> bool {
        self.of(memory).iter().collect::<BTreeSet<_>>().len() > 1
    }

    /// Whether any client has another endpoint in the one memory than in the other; families may differ.
    pub fn are_apart(&self, one: &str, other: &str) -> bool {
        let (one, other) = (self.of(one), self.of(other));
        one.len() == other.len() && one != other
    }

    fn of(&self, memory: &str) -> Vec<Target> {
        self.0.iter().filter(|((name, ..), _)| *name == memory).map(|(_, target)| *target).collect()
    }
}

fn key(memory: &'static str, packet: &Packet) -> Key {
    let sender = match packet.from {
        Sender::Client(number) => format!("client {number:03}"),
        other => other.to_string(),
    };
    (memory, sender, packet.protocol, packet.family)
}

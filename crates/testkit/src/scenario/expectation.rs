//! What must become of a packet, what did, and whether that is the same.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use super::packet::{HOST, MOST_PODS, Packet, SERVED_PORTS, Seen, Sender, pod_address};

/// A port of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The pod's number.
    pub pod: u8,
    /// The port.
    pub port: u16,
}

impl Target {
    /// The target that has this address, if it is a pod's.
    pub fn at(address: SocketAddr) -> Option<Self> {
        let family = portolan_core::IpFamily::of(address.ip());
        let pod = (HOST..=MOST_PODS).find(|number| pod_address(family, *number) == address.ip())?;
        let is_served = pod != HOST || SERVED_PORTS.contains(&address.port());
        is_served.then_some(Self { pod, port: address.port() })
    }

    /// The target that is printed like this.
    pub fn named(name: &str) -> Option<Self> {
        let (place, port) = name.split_once(':')?;
        let pod = if place == "node" { HOST } else { place.strip_prefix("pod")?.parse().ok()? };
        Some(Self { pod, port: port.parse().ok()? })
    }
}

/// `pod1:8080`, `node:8080`
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pod {
            HOST => write!(f, "node:{}", self.port),
            pod => write!(f, "pod{pod}:{}", self.port),
        }
    }
}

/// What must become of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It comes to one of these, to each as likely as to any other.
    Reaches {
        /// All whom it may come to.
        endpoints: BTreeSet<Target>,
        /// Whom they take for the sender. A pod that reaches itself always sees the node, since it
        /// would not know what to do with a packet from itself. A program on the node always sees who
        /// sends, since what does not leave the node is not masqueraded.
        seen: Seen,
    },
    /// It is rejected at once.
    IsRefused,
    /// It is dropped without an answer.
    IsDropped,
    /// It is forwarded unchanged to the host that has its destination address.
    PassesUntouched,
}

impl Expected {
    /// What receivers must see, among those things that a receiver can distinguish: to it, a program on the
    /// node and the node are the same.
    fn arrivals(&self, from: Sender) -> BTreeSet<(Target, Seen)> {
        let Self::Reaches { endpoints, seen } = self else { return BTreeSet::new() };
        let seen_by = |target: Target| {
            let hidden = from.is_node() || from == Sender::Pod(target.pod);
            let seen = if target.pod == HOST { Seen::Themselves } else { *seen };
            (target, if hidden { Seen::TheNode } else { seen })
        };
        endpoints.iter().copied().map(seen_by).collect()
    }

    /// Whether the packet must have been masqueraded; nothing where it may or may not, because a program
    /// on the node sends to another.
    pub fn hides(&self, from: Sender, target: Target) -> Option<bool> {
        match self {
            Self::Reaches { .. } if target.pod == HOST => (!from.is_node()).then_some(false),
            Self::Reaches { seen, .. } => Some(*seen == Seen::TheNode || from == Sender::Pod(target.pod)),
            _ => Some(false),
        }
    }

    /// Compares with what was found.
    ///
    /// # Errors
    /// They differ; the error says in what.
    pub fn judge(&self, packet: &Packet, found: &Found) -> Result<(), Mismatch> {
        let wanted = Found {
            arrivals: self.arrivals(packet.from),
            refused: *self == Self::IsRefused,
            silent: *self == Self::IsDropped,
            untouched: *self == Self::PassesUntouched,
            strange: BTreeSet::new(),
        };
        if wanted == *found {
            return Ok(());
        }
        Err(Mismatch(format!("{packet}\n    should: {wanted}\n    did:    {found}")))
    }
}

/// What became of a packet, or of several alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Who received it, and whom they saw; a program on the node counts as the node.
    pub arrivals: BTreeSet<(Target, Seen)>,
    /// Whether it was refused at once.
    pub refused: bool,
    /// Whether nothing was heard of it.
    pub silent: bool,
    /// Whether it went on as it was.
    pub untouched: bool,
    /// Whatever else happened.
    pub strange: BTreeSet<String>,
}

/// What was found is not what was expected: the packet, what it should do, and what it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(String);

/// `reach pod1:8080 as itself, be refused`
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrivals = self.arrivals.iter().map(|(target, seen)| format!("reach {target} as {seen}"));
        let fates = [
            (self.refused, "be refused at once"),
            (self.silent, "vanish"),
            (self.untouched, "pass untouched"),
        ];
        let fates = fates.iter().filter(|(holds, _)| *holds).map(|(_, words)| (*words).to_owned());
        let parts: Vec<_> = arrivals.chain(fates).chain(self.strange.iter().cloned()).collect();
        f.write_str(&parts.join(", "))
    }
}

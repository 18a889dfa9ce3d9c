//! Expectations in the words of a rule: `from(clients).to(addresses).reaches(pods).as_themselves()`.

use portolan_core::{IpFamily, Protocol};

use super::affinity::ReturningClients;
use super::expectation::{Expected, Target};
use super::need::Need;
use super::objects::POD_PORT;
use super::packet::{Destination, HOST, Packet, Seen, Sender};

/// Something that must hold.
#[derive(Debug, Clone)]
pub enum Check {
    /// This becomes of each of the packets, whatever became of the others.
    Each(Traffic, Expected),
    /// Each of these stays with one endpoint: the one it had before, where that is still one of them.
    Stay(ReturningClients),
    /// The same, but at least one has another endpoint than before, although the former is still there.
    SomeMoved(ReturningClients),
    /// The endpoints that comers of the first memory have are not the same for all of them.
    Spread(&'static str),
    /// Not every client in the first memory has the same endpoint in the second.
    Apart(&'static str, &'static str),
}

impl Check {
    /// All packets that are sent.
    pub fn packets(&self) -> impl Iterator<Item = Packet> {
        let traffic = match self {
            Self::Each(traffic, _) => Some(traffic),
            Self::Stay(comers) | Self::SomeMoved(comers) => Some(&comers.traffic),
            Self::Spread(_) | Self::Apart(..) => None,
        };
        traffic.into_iter().flat_map(Traffic::packets)
    }

    /// Whether all packets must go on as they are.
    pub fn passes_packets_untouched(&self) -> bool {
        matches!(self, Self::Each(_, Expected::PassesUntouched))
    }

    /// Whether `packet` is not to be sent where these needs are not met.
    pub fn lacks(&self, packet: &Packet, unmet: &[Need]) -> bool {
        // A program on the node sees the source of every client, even if it is masqueraded elsewhere.
        let shows_sender = match self {
            Self::Each(_, Expected::Reaches { seen: Seen::Themselves, .. }) => true,
            Self::Each(_, Expected::Reaches { endpoints, .. }) => endpoints.iter().any(|to| to.pod == HOST),
            _ => false,
        };
        let is_told_apart = shows_sender && !packet.from.is_node();
        let is_refused = matches!(self, Self::Each(_, Expected::IsRefused));
        let asks_outside = packet.from.is_node() && packet.to.is_from_outside(packet.family);
        packet.needs().iter().any(|need| unmet.contains(need))
            || is_told_apart && unmet.contains(&Need::ClientAddress)
            || is_refused && asks_outside && unmet.contains(&Need::RefusalsToTheNode)
    }
}

/// Who sends.
#[derive(Debug, Clone)]
pub struct Senders(Vec<Sender>);

/// Packets of these senders.
pub fn from(senders: impl IntoIterator<Item = Sender>) -> Senders {
    Senders(senders.into_iter().collect())
}

impl Senders {
    /// To these destinations, by every protocol and over both families.
    pub fn to(self, destinations: impl IntoIterator<Item = Destination>) -> Traffic {
        Traffic {
            senders: self.0,
            destinations: destinations.into_iter().collect(),
            protocols: Protocol::ALL.to_vec(),
            families: IpFamily::ALL.to_vec(),
        }
    }
}

/// Packets from all these senders to all these destinations.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Who sends.
    pub senders: Vec<Sender>,
    /// Where to.
    pub destinations: Vec<Destination>,
    /// By which protocols.
    pub protocols: Vec<Protocol>,
    /// Over which families.
    pub families: Vec<IpFamily>,
}

impl Traffic {
    /// By these protocols only.
    #[must_use]
    pub fn by(mut self, protocols: impl IntoIterator<Item = Protocol>) -> Self {
        self.protocols = protocols.into_iter().collect();
        self
    }

    /// Over this family only.
    #[must_use]
    pub fn over(mut self, family: IpFamily) -> Self {
        self.families = vec![family];
        self
    }

    /// Every single packet, grouped by sender, family and protocol.
    pub fn packets(&self) -> impl Iterator<Item = Packet> {
        self.senders.iter().flat_map(move |from| {
            self.families.iter().flat_map(move |family| {
                self.protocols.iter().flat_map(move |protocol| {
                    let packet = |to| Packet { from: *from, to, protocol: *protocol, family: *family };
                    self.destinations.iter().copied().map(packet)
                })
            })
        })
    }

    /// Each may come to any of these pods, at the port that pods usually serve on.
    pub fn reaches(self, pods: impl IntoIterator<Item = u8>) -> Reaching {
        self.reaches_ports(pods.into_iter().map(|pod| (pod, POD_PORT)))
    }

    /// Each may come to any of these ports of pods.
    pub fn reaches_ports(self, targets: impl IntoIterator<Item = (u8, u16)>) -> Reaching {
        let targets = targets.into_iter().map(|(pod, port)| Target { pod, port }).collect();
        Reaching { traffic: self, targets }
    }

    /// All are refused at once.
    pub fn is_refused(self) -> Check {
        Check::Each(self, Expected::IsRefused)
    }

    /// All vanish.
    pub fn is_dropped(self) -> Check {
        Check::Each(self, Expected::IsDropped)
    }

    /// All go on as they are.
    pub fn passes_untouched(self) -> Check {
        Check::Each(self, Expected::PassesUntouched)
    }

    /// A client that connects again gets the same one of these pods. What each has is kept by the name of
    /// `memory`; each sender, family and protocol counts for itself.
    pub fn stays(self, memory: &'static str, pods: impl IntoIterator<Item = u8>) -> ReturningClients {
        self.stays_at_ports(memory, pods.into_iter().map(|pod| (pod, POD_PORT)))
    }

    /// The same with ports of pods.
    pub fn stays_at_ports(
        self,
        memory: &'static str,
        targets: impl IntoIterator<Item = (u8, u16)>,
    ) -> ReturningClients {
        let targets = targets.into_iter().map(|(pod, port)| Target { pod, port }).collect();
        ReturningClients::new(self, memory, targets)
    }
}

/// Packets that reach an endpoint.
#[derive(Debug, Clone)]
pub struct Reaching {
    traffic: Traffic,
    targets: std::collections::BTreeSet<Target>,
}

impl Reaching {
    /// The receivers see who sent them.
    pub fn as_themselves(self) -> Check {
        self.seen(Seen::Themselves)
    }

    /// The receivers take the node for the sender.
    pub fn as_the_node(self) -> Check {
        self.seen(Seen::TheNode)
    }

    /// The receivers see what is said here.
    pub fn seen(self, seen: Seen) -> Check {
        Check::Each(self.traffic, Expected::Reaches { endpoints: self.targets, seen })
    }
}

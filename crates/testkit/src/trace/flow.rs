//! A packet in the middle of its way, and what a rule can load from it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portolan_core::Protocol;
use portolan_nft::{Bytes, CT_STATE_NEW, CT_STATUS_DNAT, Hook, Selector};

use super::{Connection, Host, Learned, Packet, Source, TraceError, Translation};

/// `NF_CT_STATE_INVALID_BIT`, linux/netfilter/nf_conntrack_common.h: also what `ct state` says
/// where connection tracking has not seen the packet yet.
const STATE_INVALID: u32 = 1;
/// `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)`, linux/netfilter/nf_conntrack_common.h.
const STATE_ESTABLISHED: u32 = 2;

/// `IPS_*`, linux/netfilter/nf_conntrack_common.h: bits of `ct status`.
mod status {
    pub(super) const SEEN_REPLY: u32 = 1 << 1;
    pub(super) const ASSURED: u32 = 1 << 2;
    pub(super) const CONFIRMED: u32 = 1 << 3;
    pub(super) const SRC_NAT: u32 = 1 << 4;
    pub(super) const SRC_NAT_DONE: u32 = 1 << 7;
    pub(super) const DST_NAT_DONE: u32 = 1 << 8;
}

/// The two ways of translating, each decided once per connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manip {
    Destination,
    Source,
}

impl Manip {
    /// The bit that says that it is decided.
    fn done(self) -> u32 {
        match self {
            Self::Destination => status::DST_NAT_DONE,
            Self::Source => status::SRC_NAT_DONE,
        }
    }

    /// `HOOK2MANIP`, include/net/netfilter/nf_nat.h; nothing happens to packets in forward.
    pub(super) fn of(hook: Hook) -> Option<Self> {
        match hook {
            Hook::Prerouting | Hook::Output => Some(Self::Destination),
            Hook::Input | Hook::Postrouting => Some(Self::Source),
            Hook::Forward => None,
        }
    }
}

/// What changes about a packet from rule to rule. What never changes stays in [`Packet`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    /// Nothing once masqueraded to an address that the host leaves open.
    source: Option<IpAddr>,
    /// Nothing once masqueraded: the kernel picks one.
    source_port: Option<u16>,
    pub(super) destination: SocketAddr,
    pub(super) mark: u32,
    /// Nothing for what the node sends, until it comes back by the loopback interface.
    interface: Option<Arc<str>>,
    /// Whether connection tracking has seen the packet.
    tracked: bool,
    pub(super) translation: Translation,
    /// How far the connection is: whether it outlives this packet, and what is decided about it.
    progress: u32,
    pub(super) learned: Vec<Learned>,
}

impl Flow {
    pub(super) fn start(packet: &Packet, interface: Option<Arc<str>>) -> Self {
        let (follows, translation) = match packet.connection {
            Connection::First => (false, Translation { destination: None, source: Source::Kept }),
            Connection::Unanswered(known) | Connection::Established(known) => (true, known),
        };
        Self {
            source: Some(packet.source.ip()),
            source_port: Some(packet.source.port()),
            destination: packet.destination,
            mark: packet.mark,
            interface,
            tracked: false,
            translation,
            progress: if follows {
                status::CONFIRMED | status::DST_NAT_DONE | status::SRC_NAT_DONE
            } else {
                0
            },
            learned: Vec::new(),
        }
    }

    /// Connection tracking has looked it up.
    pub(super) fn tracked(self) -> Self {
        Self { tracked: true, ..self }
    }

    /// It left by an interface and came back by the same, mark and connection unchanged.
    pub(super) fn come_back(self, interface: &Arc<str>) -> Self {
        let progress = self.progress | status::CONFIRMED;
        Self { interface: Some(Arc::clone(interface)), progress, ..self }
    }

    /// Whether nat chains have had their say.
    pub(super) fn is_decided(&self, manip: Manip) -> bool {
        self.progress & manip.done() != 0
    }

    /// Sends the connection elsewhere. As in the kernel it is none the different if sent to where
    /// it goes anyway, but that is decided, too.
    pub(super) fn decide_destination(&mut self, to: SocketAddr) {
        self.translation.destination = (to != self.destination).then_some(to);
        self.progress |= Manip::Destination.done();
    }

    /// Lets the connection come from the node.
    pub(super) fn decide_masquerade(&mut self) {
        self.translation.source = Source::Masqueraded;
        self.progress |= Manip::Source.done();
    }

    /// Leaves the nat hook: what was not decided there stays as it is for good, and the packet is
    /// changed as decided.
    pub(super) fn translate(mut self, manip: Manip, host: &Host) -> Self {
        self.progress |= manip.done();
        match manip {
            Manip::Destination => {
                self.destination = self.translation.destination.unwrap_or(self.destination);
            }
            Manip::Source if self.translation.source == Source::Masqueraded => {
                self.source = host.masquerade_address(self.destination.ip());
                self.source_port = None;
            }
            Manip::Source => {}
        }
        self
    }

    /// What a rule finds at `selector`: a value, numbers to draw from, or nothing, which ends the rule.
    pub(super) fn load(
        &self,
        selector: Selector,
        packet: &Packet,
        host: &Host,
    ) -> Result<Loaded, TraceError> {
        let unknown = || TraceError::Unknown { selector };
        let value = match selector {
            Selector::Saddr => Bytes::addr(self.source.ok_or_else(unknown)?),
            Selector::Daddr => Bytes::addr(self.destination.ip()),
            Selector::L4Proto => Bytes::proto(packet.protocol.number()),
            Selector::ThSport => Bytes::port(self.source_port.ok_or_else(unknown)?),
            Selector::ThDport => Bytes::port(self.destination.port()),
            Selector::NumgenRandom { modulus } => return Ok(Loaded::Draw { modulus }),
            Selector::Mark => Bytes::u32_host(self.mark),
            // Without an interface the kernel loads an empty name; the rule goes on.
            Selector::Iifname => Bytes::ifname(self.interface.as_deref().unwrap_or_default()),
            Selector::CtState => Bytes::u32_host(self.state(packet)),
            Selector::FibSaddrType => Bytes::u32_host(host.address_type(self.source.ok_or_else(unknown)?)),
            Selector::FibDaddrType => Bytes::u32_host(host.address_type(self.destination.ip())),
            _ if !self.tracked && is_of_connection(selector) => return Ok(Loaded::Nothing),
            Selector::CtStatus => Bytes::u32_host(self.status(packet)),
            Selector::CtOriginalSaddr => Bytes::addr(packet.source.ip()),
            Selector::CtOriginalDaddr => Bytes::addr(packet.destination.ip()),
            Selector::CtOriginalProtoDst => Bytes::port(packet.destination.port()),
            _ => return Err(TraceError::NewSelector { selector }),
        };
        Ok(Loaded::Value(value))
    }

    fn state(&self, packet: &Packet) -> u32 {
        match packet.connection {
            _ if !self.tracked => STATE_INVALID,
            Connection::First | Connection::Unanswered(_) => CT_STATE_NEW,
            Connection::Established(_) => STATE_ESTABLISHED,
        }
    }

    /// A UDP connection is assured only after some exchange; one answer is not enough.
    fn status(&self, packet: &Packet) -> u32 {
        let established = matches!(packet.connection, Connection::Established(_));
        let bits = [
            (status::SEEN_REPLY, established),
            (status::ASSURED, established && packet.protocol != Protocol::Udp),
            (status::SRC_NAT, self.translation.source == Source::Masqueraded),
            (CT_STATUS_DNAT, self.translation.destination.is_some()),
        ];
        bits.iter().filter(|(_, set)| *set).fold(self.progress, |all, (bit, _)| all | bit)
    }
}

/// What a selector loads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loaded {
    Value(Bytes),
    Draw { modulus: u32 },
    Nothing,
}

fn is_of_connection(selector: Selector) -> bool {
    matches!(
        selector,
        Selector::CtStatus
            | Selector::CtOriginalSaddr
            | Selector::CtOriginalDaddr
            | Selector::CtOriginalProtoDst
    )
}

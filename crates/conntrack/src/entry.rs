//! One entry of the table, as a flow to judge and as a thing to delete.

use std::net::{IpAddr, SocketAddr};

use portolan_core::flows::Flow;
use portolan_netlink::{Attribute, AttributeIter, HEADER_LEN, Message, MessageWriter};

use crate::wire::{self, entry, ip, message, protocol, tuple};

/// A UDP flow, with what the kernel needs to find it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) flow: Flow,
    original: &'a [u8],
    zone: Option<&'a [u8]>,
    id: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads a message of a list; nothing when it shows no UDP flow.
    pub(crate) fn parse(message: &Message<'a>) -> Option<Self> {
        if message.kind != message::NEW {
            return None;
        }
        let (mut original, mut reply, mut zone, mut id) = (None, None, None, None);
        for attribute in message.attributes(wire::HEADER_LEN) {
            match attribute.kind {
                entry::ORIGINAL => original = Some(attribute.value),
                entry::REPLY => reply = Some(attribute.value),
                entry::ZONE => zone = Some(attribute.value),
                entry::ID => id = Some(attribute.value),
                _ => {}
            }
        }
        let (original, id) = (original?, id?);
        let (source, destination) = udp_ends(original)?;
        let (reply_source, reply_destination) = udp_ends(reply?)?;
        let flow = Flow { source, destination, reply_source, reply_destination };
        Some(Self { flow, original, zone, id })
    }

    /// What names this entry of the table and no later one, as the attributes of a request to delete it: the
    /// kernel's own bytes, given back as they came.
    ///
    /// The original tuple is always there: without one the kernel would delete every entry. It holds the zone too,
    /// where that is the zone of one direction only. The number differs for an entry that is made anew with the same
    /// tuple.
    pub(crate) fn handle(&self) -> Box<[u8]> {
        let mut message = Vec::new();
        let mut writer = MessageWriter::new(&mut message, message::DELETE, 0, 0);
        writer.nest(entry::ORIGINAL, |original| {
            original.bytes(self.original);
        });
        if let Some(zone) = self.zone {
            writer.attribute(entry::ZONE, zone);
        }
        writer.attribute(entry::ID, self.id);
        message.split_off(HEADER_LEN).into()
    }
}

/// Who sends and who receives, by one tuple of a UDP flow.
fn udp_ends(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (source, destination) = addresses(nested(bytes, tuple::IP)?)?;
    let (mut is_udp, mut source_port, mut destination_port) = (false, None, None);
    for attribute in nested(bytes, tuple::PROTOCOL)? {
        match attribute.kind {
            protocol::NUMBER => is_udp = attribute.as_u8() == Some(protocol::UDP),
            protocol::SOURCE_PORT => source_port = port(&attribute),
            protocol::DESTINATION_PORT => destination_port = port(&attribute),
            _ => {}
        }
    }
    if !is_udp {
        return None;
    }
    Some((SocketAddr::new(source, source_port?), SocketAddr::new(destination, destination_port?)))
}

fn nested(bytes: &[u8], kind: u16) -> Option<AttributeIter<'_>> {
    AttributeIter::new(bytes).find_kind(kind).map(|attribute| attribute.nested())
}

fn addresses(attributes: AttributeIter<'_>) -> Option<(IpAddr, IpAddr)> {
    let (mut source, mut destination) = (None, None);
    for attribute in attributes {
        match attribute.kind {
            ip::V4_SOURCE => source = v4(&attribute),
            ip::V4_DESTINATION => destination = v4(&attribute),
            ip::V6_SOURCE => source = v6(&attribute),
            ip::V6_DESTINATION => destination = v6(&attribute),
            _ => {}
        }
    }
    source.zip(destination)
}

fn v4(attribute: &Attribute<'_>) -> Option<IpAddr> {
    <[u8; 4]>::try_from(attribute.value).ok().map(IpAddr::from)
}

fn v6(attribute: &Attribute<'_>) -> Option<IpAddr> {
    <[u8; 16]>::try_from(attribute.value).ok().map(IpAddr::from)
}

fn port(attribute: &Attribute<'_>) -> Option<u16> {
    attribute.value.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests;

//! One entry of the table: the flow to check, and the handle to delete it by.

use std::net::{IpAddr, SocketAddr};

use portolan_core::flows::Flow;
use portolan_netlink::{Attribute, AttributeIter, Message, MessageWriter};

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

    /// What identifies this entry and no later one, as the attributes of a request to delete it: the kernel's
    /// own bytes, unchanged.
    ///
    /// The original tuple is always there: without one the kernel would delete every entry. It also holds the zone,
    /// where that is the zone of one direction only. The id differs for an entry that is created again with the same
    /// tuple.
    pub(crate) fn handle(&self) -> Box<[u8]> {
        let mut attributes = Vec::new();
        let written = MessageWriter::attributes(&mut attributes, |handle| {
            handle.nest(entry::ORIGINAL, |original| _ = original.bytes(self.original));
            if let Some(zone) = self.zone {
                handle.attribute(entry::ZONE, zone);
            }
            handle.attribute(entry::ID, self.id);
        });
        // All of it came in one message, so it fits one.
        debug_assert!(written.is_ok());
        attributes.into()
    }
}

/// Source and destination in one tuple of a UDP flow.
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
            ip::V4_SOURCE | ip::V6_SOURCE => source = attribute.as_ip(),
            ip::V4_DESTINATION | ip::V6_DESTINATION => destination = attribute.as_ip(),
            _ => {}
        }
    }
    source.zip(destination)
}

fn port(attribute: &Attribute<'_>) -> Option<u16> {
    attribute.value.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests;

//! The few messages of the kernel's routing part that this mode speaks.
//!
//! Only bytes: what they are for is decided in [`route`](crate::route), [`addresses`](crate::addresses) and
//! [`origin`](crate::origin).

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter};

/// Kinds of messages, linux/rtnetlink.h.
pub(crate) mod kind {
    pub(crate) const GET_LINK: u16 = 18;
    pub(crate) const GET_ADDRESS: u16 = 22;
    pub(crate) const NEW_ROUTE: u16 = 24;
    pub(crate) const DELETE_ROUTE: u16 = 25;
    pub(crate) const GET_ROUTE: u16 = 26;
}

/// The lengths of `struct rtmsg`, `struct ifaddrmsg` (linux/if_addr.h) and `struct ifinfomsg`.
const ROUTE_HEADER: usize = 12;
const ADDRESS_HEADER: usize = 8;
const LINK_HEADER: usize = 16;

/// `RTA_DST`, `RTA_OIF` and `RTA_PRIORITY`, linux/rtnetlink.h.
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const PRIORITY: u16 = 6;
/// `IFA_ADDRESS` and `IFA_LOCAL`, linux/if_addr.h.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `IFLA_IFNAME`, linux/if_link.h.
const NAME: u16 = 3;

/// `RT_TABLE_LOCAL`, `RT_SCOPE_HOST` and `RTN_LOCAL`, linux/rtnetlink.h.
const TABLE: u8 = 255;
const SCOPE_HOST: u8 = 254;
const TYPE_LOCAL: u8 = 2;
/// The loopback interface is the first of every network namespace: `LOOPBACK_IFINDEX`, net/flow.h.
const LOOPBACK: u32 = 1;

/// Who made a route (`rtm_protocol`): ours. Not among those that linux/rtnetlink.h or iproute2's
/// `rt_protos` give a name; `ip route show table local proto 80` lists them.
pub(crate) const PROTOCOL: u8 = 80;
/// The metric of our routes, so that they stand beside the one of an address that somebody adds.
const METRIC: u32 = 8080;

/// `AF_INET` and `AF_INET6`, linux/socket.h.
fn family_number(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => 2,
        IpFamily::V6 => 10,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6)
}

/// Writes the route that makes `address` this node's: to be added, or to be deleted.
pub(crate) fn write_local_route(message: &mut MessageWriter<'_>, address: IpAddr) {
    let family = IpFamily::of(address);
    let length = if family == IpFamily::V4 { 32 } else { 128 };
    let mut header = [0; ROUTE_HEADER];
    header[0] = family_number(family);
    header[1] = length;
    header[4] = TABLE;
    header[5] = PROTOCOL;
    header[6] = SCOPE_HOST;
    header[7] = TYPE_LOCAL;
    message.bytes(&header).attribute(DESTINATION, &octets(address));
    message.attribute(INTERFACE, &LOOPBACK.to_ne_bytes()).attribute(PRIORITY, &METRIC.to_ne_bytes());
}

/// Asks for all routes or addresses of a family; which, the kind of the message says.
pub(crate) fn write_question(kind: u16, family: IpFamily) -> impl Fn(&mut MessageWriter<'_>) {
    let length = if kind == kind::GET_ADDRESS { ADDRESS_HEADER } else { ROUTE_HEADER };
    move |message| {
        let mut header = [0; ROUTE_HEADER];
        header[0] = family_number(family);
        message.bytes(&header[..length]);
    }
}

/// Asks for the interface of this number.
pub(crate) fn write_link_question(message: &mut MessageWriter<'_>, interface: u32) {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&interface.to_ne_bytes());
    message.bytes(&header);
}

/// Asks which way packets to `address` go.
pub(crate) fn write_lookup(message: &mut MessageWriter<'_>, address: IpAddr) {
    let family = IpFamily::of(address);
    let mut header = [0; ROUTE_HEADER];
    header[0] = family_number(family);
    header[1] = if family == IpFamily::V4 { 32 } else { 128 };
    message.bytes(&header).attribute(DESTINATION, &octets(address));
}

/// The address that a message's route makes local, if the route is ours.
pub(crate) fn read_our_route(message: &Message<'_>) -> Option<IpAddr> {
    let header = message.payload.first_chunk::<ROUTE_HEADER>()?;
    let is_ours = header[4] == TABLE && header[5] == PROTOCOL && header[7] == TYPE_LOCAL;
    let destination = message.attributes(ROUTE_HEADER).find_kind(DESTINATION)?;
    is_ours.then(|| address_of(destination.value)).flatten()
}

/// Where a lookup's answer leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// Whether to this node itself.
    pub(crate) is_local: bool,
    /// By the interface of this number.
    pub(crate) interface: u32,
}

/// Reads the answer to a lookup.
pub(crate) fn read_way(message: &Message<'_>) -> Option<Way> {
    let header = message.payload.first_chunk::<ROUTE_HEADER>()?;
    let interface = message.attributes(ROUTE_HEADER).find_kind(INTERFACE)?.as_u32()?;
    Some(Way { is_local: header[7] == TYPE_LOCAL, interface })
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InterfaceAddress {
    /// The address.
    pub(crate) address: IpAddr,
    /// The interface's number, without which a link-local address means nothing.
    pub(crate) interface: u32,
}

/// Reads an address; `IFA_LOCAL` is the own one where the interface leads to a single peer.
pub(crate) fn read_address(message: &Message<'_>) -> Option<InterfaceAddress> {
    let header = message.payload.first_chunk::<ADDRESS_HEADER>()?;
    let interface = u32::from_ne_bytes(*header[4..].first_chunk()?);
    let attributes = message.attributes(ADDRESS_HEADER);
    let value = attributes.find_kind(LOCAL).or_else(|| attributes.find_kind(ADDRESS))?.value;
    Some(InterfaceAddress { address: address_of(value)?, interface })
}

/// Reads an interface's name.
pub(crate) fn read_link_name(message: &Message<'_>) -> Option<String> {
    message.attributes(LINK_HEADER).find_kind(NAME)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;

//! Messages about sets.
//!
//! Numbers are from linux/netfilter/ipset/ip_set.h. What is longer than a byte is in the network's order, and
//! says so by a flag of its attribute.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portolan_core::{IpFamily, Protocol};
use portolan_netlink::{Attribute, AttributeIter, Message, MessageWriter};

use super::{Capacity, Member, SetKind};
use crate::address;

/// `NFNL_SUBSYS_IPSET`, linux/netfilter/nfnetlink.h.
const SUBSYSTEM: u16 = 6;
const fn command_number(command: u16) -> u16 {
    (SUBSYSTEM << 8) + command
}

/// `IPSET_CMD_*`
pub(super) const CREATE: u16 = command_number(2);
pub(super) const DESTROY: u16 = command_number(3);
pub(super) const SWAP: u16 = command_number(6);
pub(super) const LIST: u16 = command_number(7);
pub(super) const ADD: u16 = command_number(9);
pub(super) const DELETE: u16 = command_number(10);
pub(super) const HEADER: u16 = command_number(12);

/// `IPSET_ERR_BUSY`: what is said of a set that is to be destroyed while something refers to it. Private to
/// ipset, like all error numbers from 4096 (`IPSET_ERR_PRIVATE`) on.
pub(super) const REFERENCED: i32 = 4096 + 4;

/// `IPSET_PROTOCOL_MIN`: what all kernels speak that have sets.
const PROTOCOL_VERSION: u8 = 6;
/// `IPSET_FLAG_LIST_SETNAME` and `IPSET_FLAG_LIST_HEADER`
const NAMES_ONLY: u32 = 1 << 1;
const HEADER_ONLY: u32 = 1 << 2;
/// The length of `struct nfgenmsg`, linux/netfilter/nfnetlink.h.
const HEADER_LEN: usize = 4;
/// `NLA_F_NET_BYTEORDER`, linux/netlink.h.
const NETWORK_ORDER: u16 = 0x4000;

/// What a hash begins with, as kube-proxy's do.
const HASH_SIZE: u32 = 1024;

/// `IPSET_ATTR_*` of commands.
mod command {
    pub(super) const PROTOCOL: u16 = 1;
    pub(super) const NAME: u16 = 2;
    pub(super) const TYPE: u16 = 3;
    /// `IPSET_ATTR_SETNAME2`, of two sets that change places.
    pub(super) const SECOND_NAME: u16 = 3;
    pub(super) const REVISION: u16 = 4;
    pub(super) const FAMILY: u16 = 5;
    pub(super) const FLAGS: u16 = 6;
    pub(super) const DATA: u16 = 7;
    pub(super) const ENTRIES: u16 = 8;
}

/// `IPSET_ATTR_*` of what makes a set.
mod creation {
    pub(super) const PORT: u16 = 4;
    pub(super) const PORT_TO: u16 = 5;
    pub(super) const HASH_SIZE: u16 = 18;
    pub(super) const MOST_ELEMENTS: u16 = 19;
}

/// `IPSET_ATTR_*` of elements.
mod element {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const PORT: u16 = 4;
    pub(super) const PROTOCOL: u16 = 7;
    pub(super) const SECOND_ADDRESS: u16 = 20;
    pub(super) const SECOND_PREFIX: u16 = 21;
    /// `IPSET_ATTR_IPADDR_IPV4` and `IPSET_ATTR_IPADDR_IPV6`
    pub(super) const IPV4: u16 = 1;
    pub(super) const IPV6: u16 = 2;
}

/// Writes a command for one set.
pub(super) fn write_name(request: &mut MessageWriter<'_>, family: IpFamily, name: &str) {
    request.bytes(&[address::number(family), 0, 0, 0]);
    request.attribute(command::PROTOCOL, &[PROTOCOL_VERSION]).text(command::NAME, name);
}

/// Writes a request for all sets, without their elements.
pub(super) fn write_names_only(request: &mut MessageWriter<'_>) {
    request.bytes(&[0; HEADER_LEN]).attribute(command::PROTOCOL, &[PROTOCOL_VERSION]);
    request.attribute(command::FLAGS, &NAMES_ONLY.to_be_bytes());
}

/// Writes a request for what a set is, without its elements.
pub(super) fn write_header_only(request: &mut MessageWriter<'_>, family: IpFamily, name: &str) {
    write_name(request, family, name);
    request.attribute(command::FLAGS, &HEADER_ONLY.to_be_bytes());
}

/// Writes that two sets are swapped: each then has the other's name, and is used by the rules of the other.
pub(super) fn write_swap(request: &mut MessageWriter<'_>, family: IpFamily, names: [&str; 2]) {
    write_name(request, family, names[0]);
    request.text(command::SECOND_NAME, names[1]);
}

/// The oldest revision of a type that every `ipset` program can list: with the first the types with ports
/// got to know SCTP. The kernel takes any that it has ever had.
fn revision(kind: SetKind) -> u8 {
    match kind {
        SetKind::Ip | SetKind::Port => 0,
        SetKind::IpPort | SetKind::IpPortIp | SetKind::IpPortNet => 1,
    }
}

/// Writes what makes a set.
pub(super) fn write_creation(
    request: &mut MessageWriter<'_>,
    family: IpFamily,
    name: &str,
    kind: SetKind,
    capacity: Capacity,
) {
    write_name(request, family, name);
    request.text(command::TYPE, kind.as_str()).attribute(command::REVISION, &[revision(kind)]);
    request.attribute(command::FAMILY, &[address::number(family)]);
    request.nest(command::DATA, |data| {
        if kind == SetKind::Port {
            data.attribute(creation::PORT | NETWORK_ORDER, &0_u16.to_be_bytes());
            data.attribute(creation::PORT_TO | NETWORK_ORDER, &u16::MAX.to_be_bytes());
        } else {
            data.attribute(creation::HASH_SIZE | NETWORK_ORDER, &HASH_SIZE.to_be_bytes());
            data.attribute(creation::MOST_ELEMENTS | NETWORK_ORDER, &capacity.most().to_be_bytes());
        }
    });
}

/// Writes an element.
pub(super) fn write_member(request: &mut MessageWriter<'_>, member: &Member) {
    request.nest(command::DATA, |data| match member {
        Member::Ip(ip) => write_address(data, element::ADDRESS, *ip),
        Member::Port(port) => write_port(data, *port),
        Member::Socket(protocol, at) => write_socket(data, *protocol, *at),
        Member::From(protocol, at, source) => {
            write_socket(data, *protocol, *at);
            write_address(data, element::SECOND_ADDRESS, *source);
        }
        Member::FromNet(protocol, at, source) => {
            write_socket(data, *protocol, *at);
            write_address(data, element::SECOND_ADDRESS, source.network());
            data.attribute(element::SECOND_PREFIX, &[source.prefix_len()]);
        }
    });
}

fn write_socket(data: &mut MessageWriter<'_>, protocol: Protocol, at: SocketAddr) {
    write_address(data, element::ADDRESS, at.ip());
    write_port(data, at.port());
    data.attribute(element::PROTOCOL, &[protocol.number()]);
}

fn write_port(data: &mut MessageWriter<'_>, port: u16) {
    data.attribute(element::PORT | NETWORK_ORDER, &port.to_be_bytes());
}

fn write_address(data: &mut MessageWriter<'_>, kind: u16, ip: IpAddr) {
    let family = if ip.is_ipv4() { element::IPV4 } else { element::IPV6 };
    data.nest(kind, |inner| {
        address::with_bytes(ip, |bytes| _ = inner.attribute(family | NETWORK_ORDER, bytes));
    });
}

/// The name of the set that a message lists.
pub(super) fn set_name(message: &Message<'_>) -> Option<String> {
    let name = message.attributes(HEADER_LEN).find_kind(command::NAME)?;
    name.as_str().map(str::to_owned)
}

/// The name of the type of the set in a message.
pub(super) fn kind_name(message: &Message<'_>) -> Option<String> {
    let name = message.attributes(HEADER_LEN).find_kind(command::TYPE)?;
    name.as_str().map(str::to_owned)
}

/// The capacity of the set in a message.
pub(super) fn limit(message: &Message<'_>) -> Option<u32> {
    let data = message.attributes(HEADER_LEN).find_kind(command::DATA)?;
    data.nested().find_kind(creation::MOST_ELEMENTS)?.as_be32()
}

/// The elements that a message lists, as far as they are of this kind.
pub(super) fn members(message: &Message<'_>, kind: SetKind) -> Vec<Member> {
    let list = message.attributes(HEADER_LEN).find_kind(command::ENTRIES);
    let entries = list.into_iter().flat_map(|list| list.nested());
    entries.filter(|data| data.kind == command::DATA).filter_map(|data| member(&data, kind)).collect()
}

fn member(data: &Attribute<'_>, kind: SetKind) -> Option<Member> {
    let fields = data.nested();
    Some(match kind {
        SetKind::Ip => Member::Ip(read_address(&fields, element::ADDRESS)?),
        SetKind::Port => Member::Port(read_port(&fields)?),
        SetKind::IpPort => {
            let (protocol, at) = read_socket(&fields)?;
            Member::Socket(protocol, at)
        }
        SetKind::IpPortIp => {
            let (protocol, at) = read_socket(&fields)?;
            Member::From(protocol, at, read_address(&fields, element::SECOND_ADDRESS)?)
        }
        SetKind::IpPortNet => {
            let (protocol, at) = read_socket(&fields)?;
            let source = read_address(&fields, element::SECOND_ADDRESS)?;
            let prefix = fields.find_kind(element::SECOND_PREFIX).and_then(|field| field.as_u8());
            let prefix = prefix.unwrap_or_else(|| address::bits(IpFamily::of(source)));
            Member::FromNet(protocol, at, IpNet::new(source, prefix).ok()?)
        }
    })
}

fn read_socket(fields: &AttributeIter<'_>) -> Option<(Protocol, SocketAddr)> {
    let number = fields.find_kind(element::PROTOCOL)?.as_u8()?;
    let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)?;
    Some((protocol, SocketAddr::new(read_address(fields, element::ADDRESS)?, read_port(fields)?)))
}

fn read_port(fields: &AttributeIter<'_>) -> Option<u16> {
    fields.find_kind(element::PORT)?.value.try_into().ok().map(u16::from_be_bytes)
}

fn read_address(fields: &AttributeIter<'_>, kind: u16) -> Option<IpAddr> {
    let inner = fields.find_kind(kind)?.nested().next()?;
    match inner.kind {
        element::IPV4 => address::read(inner.value, IpFamily::V4),
        element::IPV6 => address::read(inner.value, IpFamily::V6),
        _ => None,
    }
}

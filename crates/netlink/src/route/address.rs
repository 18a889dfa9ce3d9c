//! Addresses of interfaces.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use super::{Family, ip_of, number, octets};
use crate::{Message, MessageWriter};

/// The length of `struct ifaddrmsg`: family, length of the prefix, flags, scope; the interface's number is at 4.
const HEADER: usize = 8;

/// `IFA_ADDRESS` and `IFA_LOCAL`; the latter, where there is one, is the interface's own, and the former then its
/// peer's.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `IFA_FLAGS`, and of those `IFA_F_NODAD`: nobody else is asked whether it has the address.
const FLAGS: u16 = 8;
const WITHOUT_DETECTION: u32 = 0x02;
/// `RT_SCOPE_LINK`: addresses the kernel gives an interface by itself.
const SCOPE_LINK: u8 = 253;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The interface's number, without which a link-local address means nothing.
    pub interface: u32,
    scope: u8,
}

impl InterfaceAddress {
    /// Whether somebody gave it to its interface, other than the kernel.
    pub fn is_lasting(&self) -> bool {
        self.scope != SCOPE_LINK
    }

    /// A port of this address. Link-local ones (RFC 4291 section 2.5.6) mean something on one interface only.
    pub fn socket(self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                SocketAddrV6::new(address, port, 0, self.interface).into()
            }
            address => SocketAddr::new(address, port),
        }
    }
}

/// Asks for all addresses of a family.
pub fn write_addresses_of(message: &mut MessageWriter<'_>, family: Family) {
    message.bytes(&[family.number(), 0, 0, 0, 0, 0, 0, 0]);
}

/// Writes an address of an interface, which stands for itself alone, without neighbours: to be added, or to be
/// taken away.
pub fn write_address(message: &mut MessageWriter<'_>, interface: u32, ip: IpAddr) {
    let family = Family::of(ip);
    let mut header = [family.number(), family.bits(), 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&interface.to_ne_bytes());
    message.bytes(&header).attribute(LOCAL, &octets(ip)).attribute(ADDRESS, &octets(ip));
    if family == Family::V6 {
        message.attribute(FLAGS, &WITHOUT_DETECTION.to_ne_bytes());
    }
}

/// Reads an address: the interface's own, not its peer's.
pub fn read_address(message: &Message<'_>) -> Option<InterfaceAddress> {
    let attributes = message.attributes(HEADER);
    let value = attributes.find_kind(LOCAL).or_else(|| attributes.find_kind(ADDRESS))?.value;
    Some(InterfaceAddress {
        address: ip_of(value)?,
        interface: number(message.payload, 4)?,
        scope: *message.payload.get(3)?,
    })
}

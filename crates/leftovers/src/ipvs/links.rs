//! Interfaces and addresses, over rtnetlink.
//!
//! Numbers are from linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h, in the host's order.

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter, NetlinkSocket, Protocol, flag};

use super::servers::{address, address_family};
use crate::LeftoverError;

/// `RTM_DELLINK`, `RTM_GETLINK` and `RTM_GETADDR`.
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;

/// The length of `struct ifinfomsg`; the interface's number is at 4.
const LINK_HEADER: usize = 16;
/// The length of `struct ifaddrmsg`; the family is at 0, the scope at 3, the interface's number at 4.
const ADDRESS_HEADER: usize = 8;

/// `IFLA_IFNAME`, `IFLA_LINKINFO` and, inside that, `IFLA_INFO_KIND`.
const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// `IFA_ADDRESS` and `IFA_LOCAL`; the latter, where there is one, is the interface's own.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `RT_SCOPE_LINK`: addresses the kernel gives an interface by itself.
const SCOPE_LINK: u8 = 253;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Its number.
    pub(super) index: u32,
    /// What made it, such as `dummy`; nothing for hardware.
    pub(super) kind: Option<String>,
}

impl Link {
    /// Whether it is the kind of device that kube-proxy makes.
    pub(super) fn is_dummy(&self) -> bool {
        self.kind.as_deref() == Some("dummy")
    }
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    /// The interface's number.
    pub(super) device: u32,
    /// The address.
    pub(super) ip: IpAddr,
    scope: u8,
}

impl Address {
    /// Whether somebody gave it to this interface.
    pub(super) fn is_lasting_on(&self, device: u32) -> bool {
        self.device == device && self.scope != SCOPE_LINK
    }
}

/// The interfaces of the network namespace that the socket was opened in.
pub(super) struct Links {
    socket: NetlinkSocket,
}

impl Links {
    pub(super) fn open() -> Result<Self, LeftoverError> {
        let socket = NetlinkSocket::open(Protocol::Route)
            .map_err(|source| LeftoverError::Read { what: "interfaces".to_owned(), source })?;
        Ok(Self { socket })
    }

    /// The interface of this name.
    pub(super) fn find(&mut self, name: &str) -> Result<Option<Link>, LeftoverError> {
        let by_name = |request: &mut MessageWriter<'_>| {
            request.bytes(&[0; LINK_HEADER]).text(LINK_NAME, name);
        };
        let take = |found: &mut Option<Link>, message: &Message<'_>| *found = link(message);
        match self.socket.request(GET_LINK, flag::ACK, by_name, take) {
            Ok(found) => Ok(found),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(source) => Err(LeftoverError::Read { what: format!("interface {name}"), source }),
        }
    }

    /// All addresses of a family.
    pub(super) fn addresses(&mut self, family: IpFamily) -> Result<Vec<Address>, LeftoverError> {
        let mut header = [0; ADDRESS_HEADER];
        header[0] = address_family(family);
        let of_family = |request: &mut MessageWriter<'_>| _ = request.bytes(&header);
        let take =
            |all: &mut Vec<Address>, message: &Message<'_>| all.extend(interface_address(message, family));
        let failed = |source| LeftoverError::Read { what: format!("the node's {family} addresses"), source };
        self.socket.dump(GET_ADDRESS, of_family, take).map_err(failed)
    }

    /// Deletes an interface. Gives how many went: none if it is gone already.
    pub(super) fn delete(&mut self, link: &Link, name: &str) -> Result<usize, LeftoverError> {
        let by_index = |request: &mut MessageWriter<'_>| _ = request.bytes(&link_header(link.index));
        match self.socket.request(DELETE_LINK, flag::ACK, by_index, |(): &mut (), _| {}) {
            Ok(()) => Ok(1),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(0),
            Err(source) => Err(LeftoverError::Delete { what: format!("interface {name}"), source }),
        }
    }
}

fn link_header(index: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

fn number(header: &[u8], at: usize) -> Option<u32> {
    header.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn link(message: &Message<'_>) -> Option<Link> {
    let info = message.attributes(LINK_HEADER).find_kind(LINK_INFO);
    let kind = info.and_then(|info| info.nested().find_kind(INFO_KIND)?.as_str().map(str::to_owned));
    Some(Link { index: number(message.payload, 4)?, kind })
}

fn interface_address(message: &Message<'_>, family: IpFamily) -> Option<Address> {
    let attributes = message.attributes(ADDRESS_HEADER);
    let value = attributes.find_kind(LOCAL).or_else(|| attributes.find_kind(ADDRESS))?.value;
    let (device, scope) = (number(message.payload, 4)?, *message.payload.get(3)?);
    Some(Address { device, ip: address(value, family)?, scope })
}

#[cfg(test)]
mod tests;

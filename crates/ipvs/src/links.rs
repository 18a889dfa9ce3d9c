//! Interfaces and addresses, over rtnetlink.

mod change;
mod wire;

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter, NetlinkSocket, Protocol, flag};

pub use change::AddressChange;

use crate::sent::{Sent, send_all};
use crate::{IpvsError, address};

/// The device that has the addresses of the virtual servers, as kube-proxy calls it.
pub const DEVICE: &str = "kube-ipvs0";

/// What makes the device: a kind that does nothing, not even receive.
const DUMMY: &str = "dummy";

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// What made it, such as `dummy`; nothing for hardware.
    pub kind: Option<String>,
}

impl Link {
    /// Whether it is the kind of device that carries the addresses of virtual servers.
    pub fn is_dummy(&self) -> bool {
        self.kind.as_deref() == Some(DUMMY)
    }
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface's number.
    pub device: u32,
    /// The address.
    pub ip: IpAddr,
    scope: u8,
}

impl Address {
    /// Whether somebody gave it to its interface, other than the kernel.
    pub fn is_lasting(&self) -> bool {
        self.scope != wire::SCOPE_LINK
    }
}

/// The interfaces of the network namespace that the socket was opened in.
#[derive(Debug)]
pub struct Links {
    socket: NetlinkSocket,
}

impl Links {
    /// Opens the socket.
    ///
    /// # Errors
    /// There is none to be had.
    pub fn open() -> Result<Self, IpvsError> {
        let socket = NetlinkSocket::open(Protocol::Route).map_err(IpvsError::read("interfaces"))?;
        Ok(Self { socket })
    }

    /// The interface of this name.
    ///
    /// # Errors
    /// The kernel refuses, or does not answer.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>, IpvsError> {
        let by_name = |request: &mut MessageWriter<'_>| wire::write_link_name(request, name);
        let take = |found: &mut Option<Link>, message: &Message<'_>| *found = wire::link(message);
        match self.socket.request(wire::GET_LINK, flag::ACK, by_name, take) {
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            found => found.map_err(IpvsError::read(format!("interface {name}"))),
        }
    }

    /// Makes a dummy device, which is down.
    ///
    /// # Errors
    /// The kernel refuses: there is an interface of this name, or it has no dummy devices (`EOPNOTSUPP`).
    pub fn create_dummy(&mut self, name: &str) -> Result<(), IpvsError> {
        let fill = |request: &mut MessageWriter<'_>| wire::write_new_link(request, name, DUMMY);
        let flags = flag::ACK | flag::CREATE | flag::EXCL;
        let made = self.socket.request(wire::NEW_LINK, flags, fill, |(): &mut (), _| {});
        made.map_err(|source| IpvsError::Send { action: format!("make the dummy device {name}"), source })
    }

    /// Deletes an interface. Gives whether it was still there.
    ///
    /// # Errors
    /// The kernel refuses, or does not answer.
    pub fn delete(&mut self, link: &Link, name: &str) -> Result<bool, IpvsError> {
        let by_index = |request: &mut MessageWriter<'_>| wire::write_link_index(request, link.index);
        match self.socket.request(wire::DELETE_LINK, flag::ACK, by_index, |(): &mut (), _| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(false),
            Err(source) => Err(IpvsError::Send { action: format!("delete interface {name}"), source }),
        }
    }

    /// All addresses of a family, of all interfaces.
    ///
    /// # Errors
    /// The kernel refuses, or others changed addresses each time it was tried.
    pub fn addresses(&mut self, family: IpFamily) -> Result<Vec<Address>, IpvsError> {
        let of_family =
            |request: &mut MessageWriter<'_>| wire::write_address_header(request, address::number(family), 0);
        let take = |all: &mut Vec<Address>, message: &Message<'_>| {
            all.extend(wire::interface_address(message, family));
        };
        let listed = self.socket.dump(wire::GET_ADDRESS, of_family, take);
        listed.map_err(IpvsError::read(format!("the node's {family} addresses")))
    }

    /// Carries these changes out, one message for each.
    ///
    /// # Errors
    /// The first change that the kernel refused; it was tried to carry out all.
    pub fn change(&mut self, changes: &[AddressChange]) -> Result<Sent, IpvsError> {
        send_all(&mut self.socket, 0, changes)
    }
}

#[cfg(test)]
mod tests;

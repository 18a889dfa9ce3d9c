//! Interfaces and addresses, over rtnetlink.

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_netlink::route::{self, AddressMonitor, Heard, InterfaceAddress, kind};
use portolan_netlink::{Message, MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};

use crate::sent::{Carried, Request, Sent, send_all};
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
    /// The kernel rejects the request, or does not answer.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>, IpvsError> {
        let by_name = |request: &mut MessageWriter<'_>| route::write_link_name(request, name);
        let take = |found: &mut Option<Link>, message: &Message<'_>| {
            *found = route::read_link(message).map(|link| Link { index: link.index, kind: link.kind });
        };
        match self.socket.request(kind::GET_LINK, flag::ACK, by_name, take) {
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            found => found.map_err(IpvsError::read(format!("interface {name}"))),
        }
    }

    /// Makes a dummy device, which is down.
    ///
    /// # Errors
    /// The kernel rejects the request: there is an interface of this name, or it has no dummy devices (`EOPNOTSUPP`).
    pub fn create_dummy(&mut self, name: &str) -> Result<(), IpvsError> {
        let fill = |request: &mut MessageWriter<'_>| route::write_new_link(request, name, DUMMY);
        let flags = flag::ACK | flag::CREATE | flag::EXCL;
        let made = self.socket.request(kind::NEW_LINK, flags, fill, |(): &mut (), _| {});
        made.map_err(|source| IpvsError::Send { action: format!("make the dummy device {name}"), source })
    }

    /// Deletes an interface. Returns whether it still existed.
    ///
    /// # Errors
    /// The kernel rejects the request, or does not answer.
    pub fn delete(&mut self, link: &Link, name: &str) -> Result<bool, IpvsError> {
        let by_index = |request: &mut MessageWriter<'_>| route::write_link(request, link.index);
        match self.socket.request(kind::DELETE_LINK, flag::ACK, by_index, |(): &mut (), _| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(false),
            Err(source) => Err(IpvsError::Send { action: format!("delete interface {name}"), source }),
        }
    }

    /// All addresses of a family, of all interfaces.
    ///
    /// # Errors
    /// The kernel rejects the request, or addresses changed during every attempt.
    pub fn addresses(&mut self, family: IpFamily) -> Result<Vec<InterfaceAddress>, IpvsError> {
        let of_family =
            |request: &mut MessageWriter<'_>| route::write_addresses_of(request, address::routed(family));
        let take = |all: &mut Vec<InterfaceAddress>, message: &Message<'_>| {
            all.extend(route::read_address(message).filter(|found| IpFamily::of(found.address) == family));
        };
        let listed = self.socket.dump(kind::GET_ADDRESS, of_family, take);
        listed.map_err(IpvsError::read(format!("the node's {family} addresses")))
    }

    /// Carries these changes out, one message for each, whatever becomes of the others.
    ///
    /// # Errors
    /// They could not be sent, or were not answered; some may have been carried out nevertheless.
    pub fn carry_out(&mut self, changes: &[AddressChange]) -> Result<Carried, IpvsError> {
        send_all(&mut self.socket, 0, changes)
    }

    /// The same for changes that should all succeed.
    ///
    /// # Errors
    /// The first change that the kernel rejected; all were tried.
    pub fn change(&mut self, changes: &[AddressChange]) -> Result<Sent, IpvsError> {
        self.carry_out(changes)?.all()
    }
}

/// One change. Each is about an interface, by its number, and about an address alone, without its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressChange {
    /// Gives the interface an address.
    Add(u32, IpAddr),
    /// Takes one away.
    Remove(u32, IpAddr),
}

impl Request for AddressChange {
    fn kind(&self, _: u16) -> u16 {
        match self {
            Self::Add(..) => kind::NEW_ADDRESS,
            Self::Remove(..) => kind::DELETE_ADDRESS,
        }
    }

    fn flags(&self) -> u16 {
        match self {
            Self::Add(..) => flag::CREATE | flag::EXCL,
            Self::Remove(..) => 0,
        }
    }

    fn write(&self, message: &mut MessageWriter<'_>) {
        let (Self::Add(device, ip) | Self::Remove(device, ip)) = self;
        route::write_address(message, *device, *ip);
    }

    fn is_done_by(&self, errno: i32) -> bool {
        match self {
            Self::Add(..) => errno == libc::EEXIST,
            Self::Remove(..) => errno == libc::EADDRNOTAVAIL || errno == libc::ENODEV,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Add(device, ip) => format!("give interface {device} the address {ip}"),
            Self::Remove(device, ip) => format!("take address {ip} from interface {device}"),
        }
    }
}

/// Listens for addresses that are added or removed in the network namespace that it was opened in.
#[derive(Debug)]
pub struct AddressWatch(AddressMonitor);

impl AddressWatch {
    /// Begins to listen.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn open(family: IpFamily) -> Result<Self, IpvsError> {
        let monitor = AddressMonitor::open(address::routed(family));
        Ok(Self(monitor.map_err(IpvsError::read(format!("changes of {family} addresses")))?))
    }

    /// Whether an address that `counts` has come or gone since the last time, or may have.
    ///
    /// # Errors
    /// The socket is of no more use.
    pub fn has_changed(&mut self, counts: impl Fn(&InterfaceAddress) -> bool) -> Result<bool, IpvsError> {
        let mut changed = false;
        let heard = self.0.listen(|address| changed |= counts(&address));
        let heard = heard.map_err(|source| NetlinkError::Receive { source });
        Ok(heard.map_err(IpvsError::read("changes of addresses"))? == Heard::Part || changed)
    }
}

#[cfg(test)]
mod tests;

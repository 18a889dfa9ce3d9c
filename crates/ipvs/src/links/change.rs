//! Changes of an interface's addresses.

use std::net::IpAddr;

use portolan_netlink::route::{self, kind};
use portolan_netlink::{MessageWriter, flag};

use crate::sent::Request;

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

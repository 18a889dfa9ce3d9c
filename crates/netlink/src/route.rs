//! Messages about interfaces, their addresses, routes and routing rules: rtnetlink, as far as it is spoken here.
//!
//! Only bytes and what they mean; what they are for is their callers' to know. Numbers are from
//! linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h and linux/fib_rules.h, in the host's order.

mod address;
mod entry;
mod link;
mod monitor;
mod rule;

use std::net::IpAddr;

pub use address::{InterfaceAddress, read_address, write_address, write_addresses_of};
pub use entry::{
    Route, RouteType, TABLE_LOCAL, Way, read_route, read_way, write_lookup, write_match, write_route,
    write_routes_of,
};
pub use link::{Link, read_link, write_link, write_link_name, write_new_link};
pub use monitor::AddressMonitor;
pub use rule::{PortRule, read_port_rule, write_port_rule, write_rules_of};

pub use crate::Heard;

/// What messages are about, and whether they ask or tell: `RTM_*`.
pub mod kind {
    /// An interface that there is, or is to be.
    pub const NEW_LINK: u16 = 16;
    /// An interface that is to go.
    pub const DELETE_LINK: u16 = 17;
    /// Asks for interfaces.
    pub const GET_LINK: u16 = 18;
    /// An address that there is, or is to be.
    pub const NEW_ADDRESS: u16 = 20;
    /// An address that went, or is to go.
    pub const DELETE_ADDRESS: u16 = 21;
    /// Asks for addresses.
    pub const GET_ADDRESS: u16 = 22;
    /// A route that there is, or is to be.
    pub const NEW_ROUTE: u16 = 24;
    /// A route that is to go.
    pub const DELETE_ROUTE: u16 = 25;
    /// Asks for routes, or which one a packet takes.
    pub const GET_ROUTE: u16 = 26;
    /// A routing rule that there is, or is to be.
    pub const NEW_RULE: u16 = 32;
    /// A routing rule that is to go.
    pub const DELETE_RULE: u16 = 33;
    /// Asks for routing rules.
    pub const GET_RULE: u16 = 34;
}

/// The families of addresses, linux/socket.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// IPv4: `AF_INET`.
    V4 = 2,
    /// IPv6: `AF_INET6`.
    V6 = 10,
}

impl Family {
    /// The one that an address is of.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// How long an address is, in bits: as a prefix, the address alone.
    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// An address's bytes.
fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// An address from its bytes, which tell its family by their number.
fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6)
}

/// A number within a header.
fn number(header: &[u8], at: usize) -> Option<u32> {
    header.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests;

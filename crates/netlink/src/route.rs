//! rtnetlink: messages about interfaces, their addresses, routes and routing rules.
//!
//! Numbers are from
//! linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h and linux/fib_rules.h, in the host's order.

mod entry;
mod interface;
mod rule;

use std::net::IpAddr;

pub use entry::{
    Route, RouteLookup, RouteType, TABLE_LOCAL, lookup, matching, read_route, write_route, write_routes_of,
};
pub use interface::{
    AddressMonitor, InterfaceAddress, Link, read_address, read_link, write_address, write_addresses_of,
    write_link, write_link_name, write_new_link,
};
pub use rule::{PortRule, read_port_rule, write_port_rule, write_rules_of};

pub use crate::Heard;

/// Message kinds: `RTM_*`.
pub mod kind {
    /// Adds an interface, or reports one.
    pub const NEW_LINK: u16 = 16;
    /// Deletes an interface, or reports one.
    pub const DELETE_LINK: u16 = 17;
    /// Requests interfaces.
    pub const GET_LINK: u16 = 18;
    /// Adds an address, or reports one.
    pub const NEW_ADDRESS: u16 = 20;
    /// Deletes an address, or reports one.
    pub const DELETE_ADDRESS: u16 = 21;
    /// Requests addresses.
    pub const GET_ADDRESS: u16 = 22;
    /// Adds a route, or reports one.
    pub const NEW_ROUTE: u16 = 24;
    /// Deletes a route, or reports one.
    pub const DELETE_ROUTE: u16 = 25;
    /// Requests all routes, or the one that a packet takes.
    pub const GET_ROUTE: u16 = 26;
    /// Adds a routing rule, or reports one.
    pub const NEW_RULE: u16 = 32;
    /// Deletes a routing rule, or reports one.
    pub const DELETE_RULE: u16 = 33;
    /// Requests routing rules.
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
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The length of an address, in bits.
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

/// A number within a header.
fn number(header: &[u8], at: usize) -> Option<u32> {
    header.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests;

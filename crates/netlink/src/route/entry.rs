//! Routes.

use std::net::IpAddr;

use super::{Family, ip_of, octets};
use crate::{Message, MessageWriter};

/// The length of `struct rtmsg`.
const HEADER: usize = 12;

/// `RTA_DST`, `RTA_OIF` and `RTA_PRIORITY`.
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const PRIORITY: u16 = 6;

/// `RT_TABLE_LOCAL`, `RT_SCOPE_HOST` and `RTN_LOCAL`.
const TABLE_LOCAL: u8 = 255;
const SCOPE_HOST: u8 = 254;
const TYPE_LOCAL: u8 = 2;
/// The loopback interface is the first of every network namespace: `LOOPBACK_IFINDEX`, net/flow.h.
const LOOPBACK: u32 = 1;

/// What makes an address this node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The address.
    pub address: IpAddr,
    /// Who made the route: `rtm_protocol`.
    pub protocol: u8,
}

/// Asks for all routes of a family.
pub fn write_routes_of(message: &mut MessageWriter<'_>, family: Family) {
    let mut header = [0; HEADER];
    header[0] = family.number();
    message.bytes(&header);
}

/// Writes a route that makes an address this node's, with this metric: to be added, or to be deleted.
pub fn write_local_route(message: &mut MessageWriter<'_>, route: Route, metric: u32) {
    let family = Family::of(route.address);
    let mut header = [0; HEADER];
    header[0] = family.number();
    header[1] = family.bits();
    header[4..8].copy_from_slice(&[TABLE_LOCAL, route.protocol, SCOPE_HOST, TYPE_LOCAL]);
    message.bytes(&header).attribute(DESTINATION, &octets(route.address));
    message.attribute(INTERFACE, &LOOPBACK.to_ne_bytes()).attribute(PRIORITY, &metric.to_ne_bytes());
}

/// Reads a route, if it makes an address this node's.
pub fn read_route(message: &Message<'_>) -> Option<Route> {
    let header = message.payload.first_chunk::<HEADER>()?;
    let is_local = header[4] == TABLE_LOCAL && header[7] == TYPE_LOCAL;
    let destination = message.attributes(HEADER).find_kind(DESTINATION).filter(|_| is_local)?;
    Some(Route { address: ip_of(destination.value)?, protocol: header[5] })
}

/// Asks which way packets to an address go.
pub fn write_lookup(message: &mut MessageWriter<'_>, address: IpAddr) {
    let family = Family::of(address);
    let mut header = [0; HEADER];
    header[..2].copy_from_slice(&[family.number(), family.bits()]);
    message.bytes(&header).attribute(DESTINATION, &octets(address));
}

/// Where a lookup's answer leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Whether to this node itself.
    pub is_local: bool,
    /// By the interface of this number.
    pub interface: u32,
}

/// Reads the answer to a lookup.
pub fn read_way(message: &Message<'_>) -> Option<Way> {
    let header = message.payload.first_chunk::<HEADER>()?;
    let interface = message.attributes(HEADER).find_kind(INTERFACE)?.as_u32()?;
    Some(Way { is_local: header[7] == TYPE_LOCAL, interface })
}

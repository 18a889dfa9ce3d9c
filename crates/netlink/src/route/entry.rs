//! Routes.

use std::net::IpAddr;

use super::{Family, kind, octets};
use crate::{Message, MessageWriter, NetlinkError, NetlinkSocket, flag};

/// The length of `struct rtmsg`: family, lengths of the prefixes, tos, table, protocol, scope, type, flags.
const HEADER: usize = 12;

/// `RTA_DST`, `RTA_OIF`, `RTA_PRIORITY`, `RTA_PREFSRC` and `RTA_TABLE`.
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const PRIORITY: u16 = 6;
const SOURCE: u16 = 7;
const TABLE: u16 = 15;

/// The kernel's table of the node's own addresses: `RT_TABLE_LOCAL`.
pub const TABLE_LOCAL: u32 = 255;
/// `RT_SCOPE_UNIVERSE` and `RT_SCOPE_HOST`.
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_HOST: u8 = 254;
/// `RTM_F_FIB_MATCH`.
const FIB_MATCH: u32 = 0x2000;
/// The loopback interface is the first of every network namespace: `LOOPBACK_IFINDEX`, net/flow.h.
const LOOPBACK: u32 = 1;

/// What a route does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RouteType {
    /// Delivers them on this node: `RTN_LOCAL`.
    Local = 2,
    /// Rejects them with ICMP "administratively prohibited": `RTN_PROHIBIT`.
    Prohibit = 8,
}

impl RouteType {
    fn of(number: u8) -> Option<Self> {
        [Self::Local, Self::Prohibit].into_iter().find(|known| *known as u8 == number)
    }
}

/// A route to one address that keeps its packets on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The address.
    pub address: IpAddr,
    /// What it does with packets.
    pub route_type: RouteType,
    /// The table that it is in.
    pub table: u32,
    /// Of several routes to one address the one with the lowest metric is used.
    pub metric: u32,
    /// What created the route: `rtm_protocol`.
    pub protocol: u8,
    /// The source address of packets from this node that have none yet; without it the kernel chooses.
    pub source: Option<IpAddr>,
}

/// Requests all routes of a family, in all tables.
pub fn write_routes_of(message: &mut MessageWriter<'_>, family: Family) {
    let mut header = [0; HEADER];
    header[0] = family.number();
    message.bytes(&header);
}

/// Writes a route: to be added, or to be deleted.
pub fn write_route(message: &mut MessageWriter<'_>, route: &Route) {
    let family = Family::of(route.address);
    let scope = if route.route_type == RouteType::Local { SCOPE_HOST } else { SCOPE_UNIVERSE };
    let mut header = [0; HEADER];
    header[0] = family.number();
    header[1] = family.bits();
    // Tables beyond the header's byte are named by the attribute.
    header[4] = u8::try_from(route.table).unwrap_or_default();
    header[5..8].copy_from_slice(&[route.protocol, scope, route.route_type as u8]);
    message.bytes(&header).attribute(DESTINATION, &octets(route.address));
    message.attribute(TABLE, &route.table.to_ne_bytes()).attribute(PRIORITY, &route.metric.to_ne_bytes());
    if route.route_type == RouteType::Local {
        message.attribute(INTERFACE, &LOOPBACK.to_ne_bytes());
    }
    if let Some(source) = route.source {
        message.attribute(SOURCE, &octets(source));
    }
}

/// Reads a route, if it is one to a single address that keeps packets on this node.
pub fn read_route(message: &Message<'_>) -> Option<Route> {
    let header = message.payload.first_chunk::<HEADER>()?;
    let attributes = message.attributes(HEADER);
    let number = |kind| attributes.find_kind(kind).and_then(|attribute| attribute.as_u32());
    let address = attributes.find_kind(DESTINATION)?.as_ip()?;
    Some(Route {
        address: Some(address).filter(|address| header[1] == Family::of(*address).bits())?,
        route_type: RouteType::of(header[7])?,
        table: number(TABLE).unwrap_or_else(|| header[4].into()),
        metric: number(PRIORITY).unwrap_or_default(),
        protocol: header[5],
        source: attributes.find_kind(SOURCE).and_then(|attribute| attribute.as_ip()),
    })
}

/// Asks the kernel where packets to an address go from this node. `socket` is one for
/// [`Protocol::Route`](crate::Protocol::Route).
///
/// # Errors
/// No route leads there or one rejects the packets ([`NetlinkError::Rejected`]), or the kernel did not answer.
pub fn lookup(socket: &mut NetlinkSocket, address: IpAddr) -> Result<Option<RouteLookup>, NetlinkError> {
    ask(socket, address, 0)
}

/// Asks the kernel which route matches an address. Kernels before 4.13 answer as if there were one to it alone.
///
/// # Errors
/// As [`lookup`].
pub fn matching(socket: &mut NetlinkSocket, address: IpAddr) -> Result<Option<RouteLookup>, NetlinkError> {
    ask(socket, address, FIB_MATCH)
}

fn ask(socket: &mut NetlinkSocket, address: IpAddr, flags: u32) -> Result<Option<RouteLookup>, NetlinkError> {
    let question = |message: &mut MessageWriter<'_>| write_question(message, address, flags);
    let first = |route: &mut Option<RouteLookup>, message: &Message<'_>| {
        *route = route.or_else(|| read_lookup(message));
    };
    socket.request(kind::GET_ROUTE, flag::ACK, question, first)
}

fn write_question(message: &mut MessageWriter<'_>, address: IpAddr, flags: u32) {
    let family = Family::of(address);
    let mut header = [0; HEADER];
    header[..2].copy_from_slice(&[family.number(), family.bits()]);
    header[8..].copy_from_slice(&flags.to_ne_bytes());
    message.bytes(&header).attribute(DESTINATION, &octets(address));
}

/// The route that answers a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLookup {
    /// Whether it delivers packets on this node.
    pub is_local: bool,
    /// Whether it is a default route.
    pub is_default: bool,
    /// The index of its interface.
    pub interface: u32,
    /// The source address of packets that have none yet.
    pub source: Option<IpAddr>,
}

/// Reads the answer to a lookup.
pub(super) fn read_lookup(message: &Message<'_>) -> Option<RouteLookup> {
    let header = message.payload.first_chunk::<HEADER>()?;
    let attributes = message.attributes(HEADER);
    Some(RouteLookup {
        is_local: header[7] == RouteType::Local as u8,
        is_default: header[1] == 0,
        interface: attributes.find_kind(INTERFACE)?.as_u32()?,
        source: attributes.find_kind(SOURCE).and_then(|attribute| attribute.as_ip()),
    })
}

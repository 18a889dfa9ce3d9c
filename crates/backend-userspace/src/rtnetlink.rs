//! What of the kernel's routing is ours.
//!
//! The messages themselves are [`portolan_netlink::route`]'s.

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_netlink::route::{self, Family, Route};
pub(crate) use portolan_netlink::route::{InterfaceAddress, kind, read_address, read_way, write_lookup};
use portolan_netlink::{Message, MessageWriter};

/// Who made a route (`rtm_protocol`): ours. Not among those that linux/rtnetlink.h or iproute2's
/// `rt_protos` give a name; `ip route show table local proto 80` lists them.
pub(crate) const PROTOCOL: u8 = 80;
/// The metric of our routes, so that they stand beside the one of an address that somebody adds.
const METRIC: u32 = 8080;

/// The family as rtnetlink calls it.
pub(crate) fn family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::V4,
        IpFamily::V6 => Family::V6,
    }
}

/// Asks for all routes or addresses of a family; which, the kind of the message says.
pub(crate) fn write_question(kind: u16, of: IpFamily) -> impl Fn(&mut MessageWriter<'_>) {
    move |message| match kind {
        kind::GET_ADDRESS => route::write_addresses_of(message, family(of)),
        _ => route::write_routes_of(message, family(of)),
    }
}

/// Asks for the interface of this number.
pub(crate) fn write_link_question(message: &mut MessageWriter<'_>, interface: u32) {
    route::write_link(message, interface);
}

/// Reads an interface's name.
pub(crate) fn read_link_name(message: &Message<'_>) -> Option<String> {
    route::read_link(message)?.name
}

/// Writes the route that makes `address` this node's: to be added, or to be deleted.
pub(crate) fn write_local_route(message: &mut MessageWriter<'_>, address: IpAddr) {
    route::write_local_route(message, Route { address, protocol: PROTOCOL }, METRIC);
}

/// The address that a message's route makes local, if the route is ours.
pub(crate) fn read_our_route(message: &Message<'_>) -> Option<IpAddr> {
    route::read_route(message).filter(|route| route.protocol == PROTOCOL).map(|route| route.address)
}

#[cfg(test)]
mod tests {
    use portolan_netlink::MessageIter;

    use super::*;

    fn message(protocol: u8) -> Vec<u8> {
        let address = "10.96.0.80".parse().unwrap();
        let mut buffer = Vec::new();
        let mut message = MessageWriter::new(&mut buffer, route::kind::NEW_ROUTE, 0, 1);
        if protocol == PROTOCOL {
            write_local_route(&mut message, address);
        } else {
            route::write_local_route(&mut message, Route { address, protocol }, METRIC);
        }
        message.finish().unwrap();
        buffer
    }

    #[test]
    fn our_routes_are_known_by_their_protocol() {
        let read = |protocol| read_our_route(&MessageIter::new(&message(protocol)).next().unwrap());
        assert_eq!(read(PROTOCOL), Some("10.96.0.80".parse().unwrap()));
        assert_eq!(read(4), None);
    }
}

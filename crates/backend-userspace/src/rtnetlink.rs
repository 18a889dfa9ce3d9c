//! Questions about the node's interfaces and addresses, in the words of this crate.
//!
//! The messages themselves are [`portolan_netlink::route`]'s.

use portolan_core::IpFamily;
use portolan_netlink::route::{self, Family};
pub(crate) use portolan_netlink::route::{InterfaceAddress, kind, read_address, read_way, write_lookup};
use portolan_netlink::{Message, MessageWriter};

/// The family as rtnetlink calls it.
pub(crate) fn family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::V4,
        IpFamily::V6 => Family::V6,
    }
}

/// Asks for all routes, rules or addresses of a family; which, the kind of the message says.
pub(crate) fn write_question(kind: u16, of: IpFamily) -> impl Fn(&mut MessageWriter<'_>) {
    move |message| match kind {
        kind::GET_ADDRESS => route::write_addresses_of(message, family(of)),
        kind::GET_RULE => route::write_rules_of(message, family(of)),
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

//! What of the kernel's routing is ours: routes and rules with our protocol number.

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_netlink::route::{
    PortRule, Route, RouteType, TABLE_LOCAL, kind, read_port_rule, read_route, write_port_rule, write_route,
};
use portolan_netlink::{Message, MessageWriter};

use crate::listen::Transport;
use crate::rtnetlink;

/// Who made a route or a rule (`rtm_protocol`): ours. Not among those that linux/rtnetlink.h or iproute2's
/// `rt_protos` give a name; `ip route show table all proto 80` lists them.
pub(super) const PROTOCOL: u8 = 80;
/// The metric of our routes, so that they stand beside the one of an address that somebody adds.
const METRIC: u32 = 8081;
/// The same of versions that made all ports of external addresses this node's.
const OLD_METRIC: u32 = 8080;
/// The metric of a refusal, which comes before the route that makes the port this node's.
const METRIC_OF_REFUSALS: u32 = 80;
/// Our rules come after the node's own addresses (0) and before all that leads elsewhere.
const PRIORITY: u32 = 80;
/// The table of a port is this, and 100,000 times the protocol's number, and the port: 800600443 for TCP 443.
const FIRST_TABLE: u32 = 800_000_000;

/// A port of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) transport: Transport,
    pub(crate) number: u16,
}

impl Port {
    fn ip_protocol(self) -> u8 {
        match self.transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
        }
    }

    /// The table that packets to this port are looked up in.
    pub(super) fn table(self) -> u32 {
        FIRST_TABLE + 100_000 * u32::from(self.ip_protocol()) + u32::from(self.number)
    }

    fn of_table(table: u32) -> Option<Self> {
        let number = u16::try_from(table.checked_sub(FIRST_TABLE)? % 100_000).ok()?;
        let all = [Transport::Tcp, Transport::Udp].map(|transport| Self { transport, number });
        all.into_iter().find(|port| port.table() == table)
    }

    fn rule(self) -> PortRule {
        let (ip_protocol, port, table) = (self.ip_protocol(), self.number, self.table());
        PortRule { ip_protocol, port, table, priority: PRIORITY, protocol: PROTOCOL }
    }
}

/// Something of the kernel's routing that brings packets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Object {
    /// A route by which all of an address is this node's.
    Address(IpAddr),
    /// A route in a port's table, by which that port of an address is this node's.
    Port(IpAddr, Port),
    /// One beside it that comes first and refuses packets, where nobody listens.
    Refusal(IpAddr, Port),
    /// The rule that has packets to a port looked up in its table.
    Rule(Port),
}

impl Object {
    /// The kinds of the messages that add it and delete it.
    pub(super) fn kinds(self) -> (u16, u16) {
        match self {
            Self::Rule(_) => (kind::NEW_RULE, kind::DELETE_RULE),
            _ => (kind::NEW_ROUTE, kind::DELETE_ROUTE),
        }
    }

    /// Writes it: to be added, or to be deleted. Where it is a port's, `source` is what packets from this node have for
    /// their source; the address itself would not do, for answers go to a port of the client's.
    pub(super) fn write(self, message: &mut MessageWriter<'_>, family: IpFamily, source: Option<IpAddr>) {
        let local = |address, table| Route {
            address,
            route_type: RouteType::Local,
            table,
            metric: METRIC,
            protocol: PROTOCOL,
            source: None,
        };
        match self {
            Self::Rule(port) => write_port_rule(message, rtnetlink::family(family), &port.rule()),
            Self::Address(address) => write_route(message, &local(address, TABLE_LOCAL)),
            Self::Port(address, port) => {
                write_route(message, &Route { source, ..local(address, port.table()) });
            }
            Self::Refusal(address, port) => {
                let (route_type, metric) = (RouteType::Prohibit, METRIC_OF_REFUSALS);
                write_route(message, &Route { route_type, metric, ..local(address, port.table()) });
            }
        }
    }
}

/// Something that a message from the kernel tells of, if it is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// As we make it now.
    Object(Object),
    /// A route by which an earlier version made all of an address this node's, whosever it was.
    Old(Route),
}

pub(super) fn read(message: &Message<'_>) -> Option<Found> {
    if message.kind == kind::NEW_RULE {
        let rule = read_port_rule(message)?;
        let port = Port::of_table(rule.table).filter(|port| port.rule() == rule);
        return port.map(|port| Found::Object(Object::Rule(port)));
    }
    let route = read_route(message).filter(|route| route.protocol == PROTOCOL)?;
    let port = Port::of_table(route.table);
    let object = match (route.route_type, port, route.metric) {
        (RouteType::Local, None, OLD_METRIC) if route.table == TABLE_LOCAL => return Some(Found::Old(route)),
        (RouteType::Local, None, METRIC) if route.table == TABLE_LOCAL => Object::Address(route.address),
        (RouteType::Local, Some(port), METRIC) => Object::Port(route.address, port),
        (RouteType::Prohibit, Some(port), METRIC_OF_REFUSALS) => Object::Refusal(route.address, port),
        _ => return None,
    };
    Some(Found::Object(object))
}

#[cfg(test)]
mod tests {
    use portolan_netlink::MessageIter;

    use super::*;

    fn message(kind: u16, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut message = MessageWriter::new(&mut buffer, kind, 0, 1);
        fill(&mut message);
        message.finish().unwrap();
        buffer
    }

    fn found(bytes: &[u8]) -> Option<Found> {
        read(&MessageIter::new(bytes).next().unwrap())
    }

    #[test]
    fn what_we_write_is_known_again() {
        for (family, address) in [(IpFamily::V4, "192.0.2.2"), (IpFamily::V6, "2001:db8::2")] {
            let address = address.parse().unwrap();
            for transport in [Transport::Tcp, Transport::Udp] {
                for number in [1, 443, 65_535] {
                    let port = Port { transport, number };
                    let all =
                        [Object::Rule(port), Object::Port(address, port), Object::Refusal(address, port)];
                    for object in all.into_iter().chain([Object::Address(address)]) {
                        let bytes = message(object.kinds().0, |message| object.write(message, family, None));
                        assert_eq!(found(&bytes), Some(Found::Object(object)));
                    }
                }
            }
        }
    }

    #[test]
    fn routes_of_others_are_not_ours_and_those_of_earlier_versions_are_told_apart() {
        let address = "10.96.0.80".parse().unwrap();
        let route_type = RouteType::Local;
        let old = Route {
            address,
            route_type,
            table: TABLE_LOCAL,
            metric: OLD_METRIC,
            protocol: PROTOCOL,
            source: None,
        };
        let read = |route: Route| found(&message(kind::NEW_ROUTE, |message| write_route(message, &route)));
        assert_eq!(read(old), Some(Found::Old(old)));
        for other in [Route { protocol: 4, ..old }, Route { metric: 5, ..old }, Route { table: 254, ..old }] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }
}

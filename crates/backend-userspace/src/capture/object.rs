//! Routes and routing rules of this mode, marked by their protocol number.

use std::net::{IpAddr, SocketAddr};

use portolan_core::{IpFamily, Protocol};
use portolan_netlink::route::{
    PortRule, Route, RouteType, TABLE_LOCAL, kind, read_port_rule, read_route, write_port_rule, write_route,
};
use portolan_netlink::{Message, MessageWriter};

use crate::address::ListenAddress;
use crate::node::rtnetlink_family;

/// The creator of a route or a rule (`rtm_protocol`). linux/rtnetlink.h and iproute2's `rt_protos` have no name for this
/// number; `ip route show table all proto 80` lists our routes.
pub(super) const PROTOCOL: u8 = 80;
/// The metric of our routes, so that they can exist beside the route of an address of an interface.
const METRIC: u32 = 8081;
/// The same in versions that captured external addresses as a whole.
const OLD_METRIC: u32 = 8080;
/// The metric of a route that rejects, which precedes the route that captures the port.
const REJECT_METRIC: u32 = 80;
/// Our rules follow the one of the table `local` (0) and precede all that lead elsewhere.
const PRIORITY: u32 = 80;
/// The table of a port is this, plus 100,000 times the protocol number, plus the port: 800600443 for TCP 443.
const FIRST_TABLE: u32 = 800_000_000;

/// A port of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
}

impl From<ListenAddress> for Port {
    fn from(address: ListenAddress) -> Self {
        Self { protocol: address.protocol, number: address.socket.port() }
    }
}

impl Port {
    fn ip_protocol(self) -> u8 {
        match self.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// The table in which packets to this port are looked up.
    fn table(self) -> u32 {
        FIRST_TABLE + 100_000 * u32::from(self.ip_protocol()) + u32::from(self.number)
    }

    fn of_table(table: u32) -> Option<Self> {
        let number = u16::try_from(table.checked_sub(FIRST_TABLE)? % 100_000).ok()?;
        let all = [Protocol::Tcp, Protocol::Udp].map(|protocol| Self { protocol, number });
        all.into_iter().find(|port| port.table() == table)
    }

    fn at(self, ip: IpAddr) -> ListenAddress {
        ListenAddress { socket: SocketAddr::new(ip, self.number), protocol: self.protocol }
    }

    fn rule(self) -> PortRule {
        let (ip_protocol, port, table) = (self.ip_protocol(), self.number, self.table());
        PortRule { ip_protocol, port, table, priority: PRIORITY, protocol: PROTOCOL }
    }
}

/// A route or a rule that brings packets to this node, or rejects them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Object {
    /// A route that makes a whole address local.
    Address(IpAddr),
    /// The same by an earlier version, which did so with addresses of other hosts too.
    OldAddress(IpAddr),
    /// A route in a port's table that makes that port of an address local.
    Port(ListenAddress),
    /// A route that precedes it and rejects packets, because nothing listens.
    Reject(ListenAddress),
    /// The rule that looks packets to a port up in its table.
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

    /// Writes it into a message that adds or deletes it. `source` is the source address that programs on this node get
    /// when they connect to a port: with the service address itself, answers would go to another port.
    pub(super) fn write(self, message: &mut MessageWriter<'_>, family: IpFamily, source: Option<IpAddr>) {
        let local = |address, table| Route {
            address,
            route_type: RouteType::Local,
            table,
            metric: METRIC,
            protocol: PROTOCOL,
            source: None,
        };
        let route = match self {
            Self::Rule(port) => {
                return write_port_rule(message, rtnetlink_family(family), &port.rule());
            }
            Self::Address(ip) => local(ip, TABLE_LOCAL),
            Self::OldAddress(ip) => Route { metric: OLD_METRIC, ..local(ip, TABLE_LOCAL) },
            Self::Port(at) => Route { source, ..local(at.socket.ip(), Port::from(at).table()) },
            Self::Reject(at) => {
                let (route_type, metric) = (RouteType::Prohibit, REJECT_METRIC);
                Route { route_type, metric, ..local(at.socket.ip(), Port::from(at).table()) }
            }
        };
        write_route(message, &route);
    }

    /// Reads it from a message of the kernel, if it is one of ours.
    pub(super) fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind == kind::NEW_RULE {
            let rule = read_port_rule(message)?;
            let port = Port::of_table(rule.table).filter(|port| port.rule() == rule);
            return port.map(Self::Rule);
        }
        let route = read_route(message).filter(|route| route.protocol == PROTOCOL)?;
        let is_whole = route.table == TABLE_LOCAL;
        match (route.route_type, Port::of_table(route.table), route.metric) {
            (RouteType::Local, None, OLD_METRIC) if is_whole => Some(Self::OldAddress(route.address)),
            (RouteType::Local, None, METRIC) if is_whole => Some(Self::Address(route.address)),
            (RouteType::Local, Some(port), METRIC) => Some(Self::Port(port.at(route.address))),
            (RouteType::Prohibit, Some(port), REJECT_METRIC) => Some(Self::Reject(port.at(route.address))),
            _ => None,
        }
    }
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

    fn found(bytes: &[u8]) -> Option<Object> {
        Object::read(&MessageIter::new(bytes).next().unwrap())
    }

    #[test]
    fn objects_survive_a_round_trip() {
        for (family, ip) in [(IpFamily::V4, "192.0.2.2"), (IpFamily::V6, "2001:db8::2")] {
            let ip = ip.parse().unwrap();
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                for number in [1, 443, 65_535] {
                    let port = Port { protocol, number };
                    let all = [Object::Rule(port), Object::Port(port.at(ip)), Object::Reject(port.at(ip))];
                    for object in all.into_iter().chain([Object::Address(ip), Object::OldAddress(ip)]) {
                        let bytes = message(object.kinds().0, |message| object.write(message, family, None));
                        assert_eq!(found(&bytes), Some(object));
                    }
                }
            }
        }
    }

    #[test]
    fn routes_of_others_and_of_earlier_versions_are_distinguished() {
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
        assert_eq!(read(old), Some(Object::OldAddress(address)));
        for other in [Route { protocol: 4, ..old }, Route { metric: 5, ..old }, Route { table: 254, ..old }] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }
}

//! Who sends what to whom.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use portolan_core::address::PerFamily;
use portolan_core::{IpFamily, Protocol};

use super::need::Need;
use crate::netns::{
    CLIENT_V4, CLIENT_V6, GATEWAY_V4, GATEWAY_V6, NODE_V4, NODE_V6, NODE_WORLD_V4, NODE_WORLD_V6, pod_v4,
    pod_v6,
};

/// The number of the Service that [`web`](super::web) makes.
pub const WEB: u8 = 80;
/// The port on all of a Service's addresses but the node's.
const PORT: u16 = 80;
/// What a Service's number is added to for its node port.
const NODE_PORTS: u16 = 30_000;

/// The machine outside the cluster.
pub const CLIENT: Sender = Sender::Client(0);
/// A pod that is usually no endpoint.
pub const POD: Sender = Sender::Pod(4);
/// The node.
pub const NODE_ITSELF: Sender = Sender::Node;

/// Who opens a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The machine outside the cluster, by its first address (0) or one of its further ones.
    Client(u8),
    /// The pod of this number; an endpoint may ask itself.
    Pod(u8),
    /// A program on the node that leaves its address to the routing.
    Node,
    /// A program on the node that is bound to these addresses.
    NodeBoundTo(PerFamily<IpAddr>),
}

impl Sender {
    /// Its address, unless it is up to the routing.
    pub fn address(self, family: IpFamily) -> Option<IpAddr> {
        let first = PerFamily { v4: IpAddr::from(CLIENT_V4), v6: CLIENT_V6.into() };
        match self {
            Self::Client(0) => Some(first[family]),
            Self::Client(number) => Some(client_address(family, number)),
            Self::Pod(number) => Some(pod_address(family, number)),
            Self::Node => None,
            Self::NodeBoundTo(addresses) => Some(addresses[family]),
        }
    }

    /// The source of its packets to `destination`, given that routing chooses as in
    /// [`Topology`](crate::netns::Topology): an address of the node's own for itself, the gateway's for
    /// pods, and for everything else the address on the default route.
    pub fn source(self, destination: IpAddr, node_addresses: &[IpAddr]) -> IpAddr {
        let family = IpFamily::of(destination);
        let routed = || {
            let is_pod = (1..=MOST_PODS).any(|number| pod_address(family, number) == destination);
            match (is_pod, family) {
                _ if destination.is_loopback() || node_addresses.contains(&destination) => destination,
                (true, IpFamily::V4) => GATEWAY_V4.into(),
                (true, IpFamily::V6) => GATEWAY_V6.into(),
                (false, IpFamily::V4) => NODE_WORLD_V4.into(),
                (false, IpFamily::V6) => NODE_WORLD_V6.into(),
            }
        };
        self.address(family).unwrap_or_else(routed)
    }

    /// Whether it is a program on the node.
    pub fn is_node(self) -> bool {
        matches!(self, Self::Node | Self::NodeBoundTo(_))
    }
}

/// As many pods as a scenario has.
pub(super) const MOST_PODS: u8 = 4;
/// The ports that pods may serve on, by every protocol.
pub(super) const SERVED_PORTS: [u16; 2] = [8080, 9090];
/// What stands among the numbers of pods for a program in the network of the node itself
/// (`hostNetwork`), such as the API server. It has the node's addresses towards the client.
pub const HOST: u8 = 0;

/// The address of a pod of the topology, or of the node for [`HOST`].
pub(super) fn pod_address(family: IpFamily, number: u8) -> IpAddr {
    match (family, number) {
        (IpFamily::V4, HOST) => NODE_V4.into(),
        (IpFamily::V6, HOST) => NODE_V6.into(),
        (IpFamily::V4, _) => pod_v4(number).into(),
        (IpFamily::V6, _) => pod_v6(number).into(),
    }
}

/// A further address of the client: `192.0.2.100` and `2001:db8:2::1000` upwards.
fn client_address(family: IpFamily, number: u8) -> IpAddr {
    match family {
        IpFamily::V4 => IpAddr::from([192, 0, 2, 100 + number]),
        IpFamily::V6 => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x1000 + u16::from(number)).into(),
    }
}

/// Every pod of the topology by its number, with its address of either family.
pub fn pod_addresses() -> impl Iterator<Item = (u8, IpAddr)> {
    (1..=MOST_PODS).flat_map(|number| IpFamily::ALL.map(|family| (number, pod_address(family, number))))
}

/// The addresses that the node of the topology has, whatever is added.
pub fn node_addresses() -> Vec<IpAddr> {
    let v4 = [NODE_V4, NODE_WORLD_V4, GATEWAY_V4].map(IpAddr::from);
    let v6 = [NODE_V6, NODE_WORLD_V6, GATEWAY_V6].map(IpAddr::from);
    [v4, v6].concat()
}

/// `client`, `client 3`, `pod4`, `the node`, `the node by 192.0.2.1 or 2001:db8:2::1`
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(0) => f.write_str("client"),
            Self::Client(number) => write!(f, "client {number}"),
            Self::Pod(number) => write!(f, "pod{number}"),
            Self::Node => f.write_str("the node"),
            Self::NodeBoundTo(addresses) => write!(f, "the node by {} or {}", addresses.v4, addresses.v6),
        }
    }
}

/// An address of each family, and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// What kind of address it is, in words.
    pub kind: &'static str,
    /// The address of each family.
    pub addresses: PerFamily<IpAddr>,
    /// The port.
    pub port: u16,
}

/// How the addresses of [`vip`]s begin: 203.0.113.0/24 and 2001:db8:113::/48.
const OUTSIDE_V4: [u8; 3] = [203, 0, 113];
const OUTSIDE_V6: [u16; 3] = [0x2001, 0xdb8, 0x113];

impl Destination {
    /// A destination that is none of the usual ones.
    pub fn new(kind: &'static str, v4: &str, v6: &str, port: u16) -> Self {
        let addresses = PerFamily { v4: crate::objects::ip(v4), v6: crate::objects::ip(v6) };
        Self { kind, addresses, port }
    }

    /// The same addresses at another port.
    #[must_use]
    pub fn at(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Whether it is a load-balancer address or an external one, or another that only the proxy gives a meaning.
    pub fn is_from_outside(&self, family: IpFamily) -> bool {
        match self.addresses[family] {
            IpAddr::V4(ip) => ip.octets()[..3] == OUTSIDE_V4,
            IpAddr::V6(ip) => ip.segments()[..3] == OUTSIDE_V6,
        }
    }

    /// Address and port of one family.
    pub fn socket(&self, family: IpFamily) -> SocketAddr {
        SocketAddr::new(self.addresses[family], self.port)
    }
}

/// The cluster IPs of the Service of this number, at its port 80.
pub fn cluster_ip(service: u8) -> Destination {
    Destination::new("cluster IP", &format!("10.96.0.{service}"), &format!("fd00:10:96::{service}"), PORT)
}

/// An address that only the proxy gives a meaning, at port 80.
pub fn vip(kind: &'static str, last: u8) -> Destination {
    Destination::new(kind, &format!("203.0.113.{last}"), &format!("2001:db8:113::{last}"), PORT)
}

/// The load-balancer addresses of the Service of this number.
pub fn load_balancer_ip(service: u8) -> Destination {
    vip("load-balancer IP", service)
}

/// The external IPs of the Service of this number.
pub fn external_ip(service: u8) -> Destination {
    vip("external IP", 100 + service)
}

/// The node port of the Service of this number, at the node's addresses towards the client.
pub fn node_port(service: u8) -> Destination {
    let addresses = PerFamily { v4: NODE_V4.into(), v6: NODE_V6.into() };
    Destination { kind: "node port", addresses, port: NODE_PORTS + u16::from(service) }
}

/// All that [`web`](super::web) answers on from outside the cluster.
pub fn external() -> Vec<Destination> {
    vec![node_port(WEB), load_balancer_ip(WEB), external_ip(WEB)]
}

/// All that [`web`](super::web) answers on.
pub fn everywhere() -> Vec<Destination> {
    [vec![cluster_ip(WEB)], external()].concat()
}

/// The first packet of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub from: Sender,
    /// Where to.
    pub to: Destination,
    /// By which protocol.
    pub protocol: Protocol,
    /// Over which family.
    pub family: IpFamily,
}

impl Packet {
    /// Where it is sent.
    pub fn socket(&self) -> SocketAddr {
        self.to.socket(self.family)
    }

    /// What it takes to send it.
    pub fn needs(&self) -> &'static [Need] {
        if self.protocol == Protocol::Sctp { &[Need::Sctp] } else { &[] }
    }
}

/// `tcp from pod4 to cluster IP 10.96.0.80:80`
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, protocol, family } = self;
        write!(f, "{protocol} from {from} to {} {}", to.kind, to.socket(*family))
    }
}

/// Whom the receiver takes for the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Who it is.
    Themselves,
    /// The node.
    TheNode,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Themselves => "itself",
            Self::TheNode => "the node",
        })
    }
}

//! The objects that scenarios are made of, in both families and all protocols at once.

use ipnet::IpNet;
use portolan_core::event::{Change, Conditions, Event, Node};
use portolan_core::{IpFamily, Protocol};

use super::packet::{WEB, cluster_ip, external_ip, load_balancer_ip, node_port, pod_address};
use crate::netns::{NODE_V4, NODE_V6};
use crate::objects::{ServiceBuilder, SliceBuilder, node, object_name, service, slice};

/// This node's name.
pub const NODE: &str = "node1";
/// A node that is not this one.
const ANOTHER_NODE: &str = "node2";
/// The port that pods usually serve on, by every protocol.
pub const POD_PORT: u16 = 8080;

/// The proxy's input.
pub trait Objects {
    /// As events.
    fn events(self) -> Vec<Event>;
}

impl Objects for Event {
    fn events(self) -> Vec<Event> {
        vec![self]
    }
}

impl Objects for Vec<Event> {
    fn events(self) -> Vec<Event> {
        self
    }
}

impl Objects for ServiceBuilder {
    fn events(self) -> Vec<Event> {
        vec![self.applied()]
    }
}

impl Objects for SliceBuilder {
    fn events(self) -> Vec<Event> {
        vec![self.applied()]
    }
}

impl Objects for Node {
    fn events(self) -> Vec<Event> {
        vec![Event::Node(Change::Applied(self))]
    }
}

/// The Service that most scenarios are about, with an address of every kind in both families, and with
/// TCP, UDP and SCTP on the same numbers: see [`everywhere`](super::everywhere).
pub fn web() -> ServiceBuilder {
    service_at("web", WEB)
}

/// The same as [`web`] by another name and number.
pub fn service_at(name: &str, number: u8) -> ServiceBuilder {
    let [cluster, balancer, external] =
        [cluster_ip(number), load_balancer_ip(number), external_ip(number)].map(|to| to.addresses);
    let bare = service(&format!("shop/{name}"), &format!("{},{}", cluster.v4, cluster.v6));
    let ported = Protocol::ALL.into_iter().fold(bare, |service, protocol| {
        let port = service.port(&protocol.to_string(), protocol, cluster_ip(number).port);
        port.node_port(node_port(number).port)
    });
    let with_vips =
        [balancer.v4, balancer.v6].iter().fold(ported, |s, ip| s.load_balancer_ip(&ip.to_string()));
    [external.v4, external.v6].iter().fold(with_vips, |s, ip| s.external_ip(&ip.to_string()))
}

/// A pod in a slice.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    pod: u8,
    node: Option<&'static str>,
    conditions: Conditions,
    zones: &'static [&'static str],
    nodes: &'static [&'static str],
}

/// A ready pod of this node.
pub const fn here(pod: u8) -> Member {
    Member { pod, node: Some(NODE), conditions: Conditions::READY, zones: &[], nodes: &[] }
}

/// A ready pod that is said to be of another node.
pub const fn away(pod: u8) -> Member {
    Member { node: Some(ANOTHER_NODE), ..here(pod) }
}

/// A ready pod of which nothing says where it is.
pub const fn anywhere(pod: u8) -> Member {
    Member { node: None, ..here(pod) }
}

impl Member {
    /// The same pod, not ready and not about to end.
    #[must_use]
    pub const fn unready(mut self) -> Self {
        self.conditions = Conditions { ready: false, serving: false, terminating: false };
        self
    }

    /// The same pod, about to end but still serving.
    #[must_use]
    pub const fn terminating(mut self) -> Self {
        self.conditions = Conditions { ready: false, serving: true, terminating: true };
        self
    }

    /// The same pod, terminating but still used (`publishNotReadyAddresses`).
    #[must_use]
    pub const fn published(mut self) -> Self {
        self.conditions = Conditions { ready: true, serving: false, terminating: true };
        self
    }

    /// The same pod, about to end and not serving any more.
    #[must_use]
    pub const fn ended(mut self) -> Self {
        self.conditions = Conditions { ready: false, serving: false, terminating: true };
        self
    }

    /// The same pod, which the control plane means for these zones.
    #[must_use]
    pub const fn for_zones(mut self, zones: &'static [&'static str]) -> Self {
        self.zones = zones;
        self
    }

    /// The same pod, which the control plane means for these nodes.
    #[must_use]
    pub const fn for_nodes(mut self, nodes: &'static [&'static str]) -> Self {
        self.nodes = nodes;
        self
    }
}

/// The slices of a Service of [`service_at`], one for each family, with just these pods.
pub fn pods(service: &str, members: impl IntoIterator<Item = Member>) -> Vec<Event> {
    let ports = Protocol::ALL.map(|protocol| (protocol.to_string(), protocol, POD_PORT));
    let ports: Vec<_> =
        ports.iter().map(|(name, protocol, port)| (name.as_str(), *protocol, *port)).collect();
    pods_on(service, "pods", &ports, members)
}

/// Further slices of a Service, called `suffix`, with these ports: name, protocol and number.
pub fn pods_on(
    service: &str,
    suffix: &str,
    ports: &[(&str, Protocol, u16)],
    members: impl IntoIterator<Item = Member>,
) -> Vec<Event> {
    let members: Vec<_> = members.into_iter().collect();
    let of_family = |family| {
        let bare = slice(&format!("shop/{service}-{suffix}-{family}"), service).family(family);
        let ported =
            ports.iter().fold(bare, |slice, (name, protocol, port)| slice.port(name, *protocol, *port));
        members.iter().fold(ported, |slice, member| member.join(slice, family)).applied()
    };
    IpFamily::ALL.map(of_family).into()
}

impl Member {
    /// Adds the pod to a slice.
    fn join(&self, slice: SliceBuilder, family: IpFamily) -> SliceBuilder {
        let address = pod_address(family, self.pod).to_string();
        let slice = slice.endpoint(&address, self.node, self.conditions);
        if self.zones.is_empty() && self.nodes.is_empty() {
            slice
        } else {
            slice.hinted(self.zones, self.nodes)
        }
    }
}

/// The Service of this name is gone, or is none that a proxy serves any more: it became headless, or a
/// name for something else.
pub fn gone(service: &str) -> Event {
    Event::Service(Change::Deleted(object_name(&format!("shop/{service}"))))
}

/// This node's Node object, with the addresses that it has towards the client.
pub fn this_node() -> Node {
    node(NODE, &[&NODE_V4.to_string(), &NODE_V6.to_string()])
}

/// Reads a network of a scenario.
///
/// # Panics
/// The text is no CIDR.
pub(super) fn net(text: &str) -> IpNet {
    portolan_core::address::parse_cidr(text).unwrap_or_else(|error| panic!("{error}"))
}

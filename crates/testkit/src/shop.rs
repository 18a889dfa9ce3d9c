//! One Service with an address of every kind, for tests that look at a node rather than at rules.
//!
//! Its pods are those of a [`Topology`], all on this node.

use std::net::SocketAddr;

use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{IpFamily, Protocol};

use crate::netns::{NODE_V4, Topology};
use crate::objects::{SliceBuilder, service, slice};
use crate::scenario::Scenario;

pub use crate::scenario::{NODE, POD_PORT};

/// The port of the Service [`web`].
pub const PORT: u16 = 80;
/// Its node port.
pub const NODE_PORT: u16 = 30080;

/// The node of the scenario table: it takes all addresses of the pod network for local pods', and answers on
/// node ports at all its addresses.
pub fn config() -> NodeConfig {
    Scenario::new().config
}

/// A Service with an address of every kind in both families, TCP and UDP.
pub fn web() -> Event {
    service("shop/web", "10.96.0.80,fd00:10:96::80")
        .port("http", Protocol::Tcp, PORT)
        .node_port(NODE_PORT)
        .port("quic", Protocol::Udp, PORT)
        .node_port(NODE_PORT)
        .load_balancer_ip("203.0.113.80")
        .load_balancer_ip("2001:db8:113::80")
        .external_ip("203.0.113.81")
        .external_ip("2001:db8:113::81")
        .applied()
}

/// The same for a folder of manifests: a Service of TCP with a cluster IP in each family and a node port.
pub const WEB_MANIFEST: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIP: 10.96.0.80
  clusterIPs: [10.96.0.80, 'fd00:10:96::80']
  ipFamilies: [IPv4, IPv6]
  ports:
  - {name: http, port: 80, protocol: TCP, targetPort: 8080, nodePort: 30080}
";

/// Where [`WEB_MANIFEST`] answers to a client: its cluster IPs, and its node port at the node's IPv4 address.
pub fn web_manifest_sockets() -> [SocketAddr; 3] {
    let (ipv4, ipv6) = ([10, 96, 0, 80], [0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x80]);
    [(ipv4, PORT).into(), (ipv6, PORT).into(), (NODE_V4, NODE_PORT).into()]
}

/// The slices of [`WEB_MANIFEST`], with these pods in them.
///
/// # Panics
/// There is no such pod.
pub fn web_slice_manifests(network: &Topology, numbers: &[usize]) -> String {
    IpFamily::ALL.map(|family| network.slice("web", family, ("TCP", POD_PORT), numbers)).concat()
}

/// Its slices, with these pods in them.
///
/// # Panics
/// There is no such pod.
pub fn web_pods(network: &Topology, numbers: &[usize]) -> [Event; 2] {
    let ports = |slice: SliceBuilder| {
        slice.port("http", Protocol::Tcp, POD_PORT).port("quic", Protocol::Udp, POD_PORT)
    };
    let pods = || numbers.iter().map(|number| network.pod(*number));
    let v4 = pods().fold(ports(slice("shop/web-4", "web")), |s, pod| s.on(NODE, &pod.ipv4.to_string()));
    let v6 = pods().fold(ports(slice("shop/web-6", "web").family(IpFamily::V6)), |s, pod| {
        s.on(NODE, &pod.ipv6.to_string())
    });
    [v4.applied(), v6.applied()]
}

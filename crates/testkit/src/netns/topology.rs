//! The test's network: a client outside the cluster, a node, its pods, and the world beyond.
//!
//! ```text
//!   client 192.0.2.2 ─────┐                      ┌───── pod1 10.244.0.11
//!                     192.0.2.1                  ├───── pod2 10.244.0.12
//!                         └── node (10.244.0.1) ─┤
//!                     198.51.100.1               └───── podN
//!   world 198.51.100.2 ───┘
//! ```
//!
//! The node routes between them in both families and has its default route towards `world`, as any node
//! has one: without it, the node's own connections to a service address would fail before they meet a
//! rule. `world` does not forward, so an untranslated packet disappears there without an answer. The client
//! routes service, external and pod addresses through the node.
//!
//! Holds: interfaces towards the node are called `eth0`, the node's own carry the name of the namespace
//! behind them; addresses are usable when the constructor returns (no duplicate address detection).

mod addresses;
mod script;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portolan_core::IpFamily;

pub use addresses::{
    CLIENT_V4, CLIENT_V6, GATEWAY_V4, GATEWAY_V6, NODE_V4, NODE_V6, NODE_WORLD_V4, NODE_WORLD_V6,
    POD_CIDR_V4, POD_CIDR_V6, WORLD_V4, WORLD_V6, pod_v4, pod_v6,
};

use self::script::{Layout, Script};
use super::{EchoServer, Namespace, NetnsError, Program, sctp, speaks_sctp};

/// A pod: its namespace and its two addresses.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The namespace, named `pod1`, `pod2`, ….
    pub namespace: Namespace,
    /// The pod's IPv4 address, out of [`POD_CIDR_V4`].
    pub ipv4: Ipv4Addr,
    /// The pod's IPv6 address, out of [`POD_CIDR_V6`].
    pub ipv6: Ipv6Addr,
}

impl Pod {
    /// The pod's name, which its echo servers answer with.
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// A port of the pod over IPv4.
    pub fn socket_v4(&self, port: u16) -> SocketAddr {
        (self.ipv4, port).into()
    }

    /// A port of the pod over IPv6.
    pub fn socket_v6(&self, port: u16) -> SocketAddr {
        (self.ipv6, port).into()
    }
}

/// The namespaces of one test, connected and ready for traffic.
#[derive(Debug)]
pub struct Topology {
    client: Namespace,
    node: Namespace,
    world: Namespace,
    pods: Vec<Pod>,
}

impl Topology {
    /// `pods` pods, each routed to on its own cable, as Calico and the cloud providers do.
    ///
    /// # Errors
    /// When a step is refused, as it is outside [`isolated`](super::isolated).
    ///
    /// # Panics
    /// With more than 200 pods.
    pub fn routed(pods: u8) -> Result<Self, NetnsError> {
        Self::build(pods, Layout::Routed)
    }

    /// `pods` pods on one bridge of the node, `cni0`, as the bridge plugin and flannel do.
    ///
    /// The bridge sends frames back where they came from (hairpin mode) and shows bridged packets to
    /// netfilter (`bridge-nf-call-iptables`), which Kubernetes requires of this layout: without it, a reply
    /// from pod to pod would pass by connection tracking and keep the endpoint's address.
    ///
    /// # Errors
    /// When a step is refused, or the kernel has no `br_netfilter`.
    ///
    /// # Panics
    /// With more than 200 pods.
    pub fn bridged(pods: u8) -> Result<Self, NetnsError> {
        Self::build(pods, Layout::Bridged)
    }

    /// The machine outside the cluster: [`CLIENT_V4`] and [`CLIENT_V6`].
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The node, where the proxy works: [`NODE_V4`] and [`NODE_V6`] towards the client.
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// Everything behind the node's default route: [`WORLD_V4`] and [`WORLD_V6`].
    pub fn world(&self) -> &Namespace {
        &self.world
    }

    /// A pod by its number, counted from 1 as in its name.
    ///
    /// # Panics
    /// When the topology has no such pod.
    pub fn pod(&self, number: usize) -> &Pod {
        let index = number.checked_sub(1).unwrap_or_else(|| panic!("pods are counted from 1"));
        self.pods.get(index).unwrap_or_else(|| panic!("pod{number} of a topology of {}", self.pods.len()))
    }

    /// All pods, in the order of their numbers.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// The EndpointSlice of one family of Service `shop/<service>`, as YAML: these pods, all on `node1` and ready,
    /// at a port called `http` of this protocol and number.
    pub fn slice(&self, service: &str, family: IpFamily, port: (&str, u16), pods: &[usize]) -> String {
        let address = |number: &usize| -> IpAddr {
            let pod = self.pod(*number);
            if family == IpFamily::V4 { pod.ipv4.into() } else { pod.ipv6.into() }
        };
        let endpoint =
            |ip| format!("- {{addresses: ['{ip}'], nodeName: node1, conditions: {{ready: true}}}}\n");
        let endpoints: String = pods.iter().map(address).map(endpoint).collect();
        let (protocol, number) = port;
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-{}\n  namespace: shop\n  \
             labels: {{kubernetes.io/service-name: {service}}}\naddressType: {family}\n\
             ports:\n- {{name: http, port: {number}, protocol: {protocol}}}\nendpoints:\n{endpoints}",
            family.to_string().to_lowercase()
        )
    }

    /// Starts an [`EchoServer`] on these ports in every pod.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn serve(&self, ports: &[u16]) -> Result<Vec<EchoServer>, NetnsError> {
        self.pods.iter().map(|pod| EchoServer::start(&pod.namespace, pod.name(), ports)).collect()
    }

    fn build(pods: u8, layout: Layout) -> Result<Self, NetnsError> {
        let script = Script::new(pods, layout);
        ip_batch(&[], script.namespaces())?;
        let topology = Self {
            client: Namespace::open("client")?,
            node: Namespace::open("node")?,
            world: Namespace::open("world")?,
            pods: script.pods()?,
        };
        topology.set_sysctls(layout)?;
        ip_batch(&[], script.cables())?;
        for (namespace, commands) in script.addresses() {
            ip_batch(&["-n", &namespace], commands)?;
        }
        Ok(topology)
    }

    /// Sets what must be set before interfaces come up: new ones copy the `default` values.
    fn set_sysctls(&self, layout: Layout) -> Result<(), NetnsError> {
        // A kernel that loads SCTP for this has settings of it from then on.
        let of_sctp = if speaks_sctp()? { sctp::SETTINGS } else { &[] };
        let pods = self.pods.iter().map(|pod| &pod.namespace);
        for namespace in pods.chain([&self.client, &self.node, &self.world]) {
            namespace.sysctl(script::EVERYWHERE)?;
            namespace.sysctl_where_known(script::WHERE_KNOWN)?;
            namespace.sysctl(of_sctp)?;
        }
        self.client.sysctl(script::ON_CLIENT)?;
        self.node.sysctl(script::ON_NODE)?;
        match layout {
            Layout::Routed => Ok(()),
            Layout::Bridged => self.node.sysctl(script::ON_BRIDGE_NODE),
        }
    }
}

/// Runs `ip` once for many commands; one process for each would take most of a test's time.
fn ip_batch(options: &[&str], commands: String) -> Result<(), NetnsError> {
    let ip = Program::new("ip").args(options.iter().copied()).args(["-batch", "-"]);
    ip.input(commands).run().map(drop)
}

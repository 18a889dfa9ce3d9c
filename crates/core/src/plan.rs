//! What one family of this node's kernel should hold.
//!
//! A [`NodePlan`] is complete: a frontend that it leaves out must not answer.
//! It names every frontend at most once, so that a backend never has to decide
//! between two claims ([`crate::claims`] did).

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::{IpFamily, Protocol};
use crate::event::TrafficPolicy;
use crate::name::{Name, ServicePortName};

/// The complete wanted state of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// The family that every address in the plan belongs to.
    pub family: IpFamily,
    /// What holds for all service ports.
    pub node: NodeSettings,
    /// The service ports by identity.
    pub service_ports: HashMap<ServicePortName, Arc<ServicePort>>,
}

impl NodePlan {
    /// A plan without services.
    pub fn new(family: IpFamily, node: NodeSettings) -> Self {
        Self { family, node, service_ports: HashMap::new() }
    }

    /// The names of all service ports, those that other pods need first at the front:
    /// the API server's own Service, then cluster DNS, then the rest by name.
    ///
    /// Costs a sort of the whole plan: for a first load, not for a change.
    pub fn names_by_importance(&self) -> Vec<&ServicePortName> {
        let mut names: Vec<_> = self.service_ports.keys().collect();
        names.sort_unstable_by_key(|name| (importance(name), *name));
        names
    }
}

fn importance(name: &ServicePortName) -> u8 {
    match (&*name.service.namespace, &*name.service.name) {
        ("default", "kubernetes") => 0,
        ("kube-system", service) if service.contains("dns") => 1,
        ("kube-system", _) => 2,
        _ => 3,
    }
}

/// What holds for the node as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// How to tell that a local pod sent a packet. Without it none counts as a pod's:
    /// no traffic to cluster IPs is masqueraded for its source's sake, and external traffic
    /// policies hold for pods as for everybody.
    pub local_detector: Option<LocalDetector>,
    /// Whether all traffic to cluster IPs gets this node's source address.
    pub masquerade_all: bool,
    /// The packet mark bit that carries "masquerade this" to postrouting.
    pub masquerade_mark: u32,
    /// Which of the node's addresses answer on node ports.
    pub node_port_addresses: NodePortAddresses,
    /// Where cluster IPs come from, sorted and without overlaps. New connections to an address
    /// in here that is no Service's are dropped, so that they do not wander off the cluster.
    pub service_cidrs: Vec<IpNet>,
    /// Where the proxy finds the API server, sorted. A mode that takes whole addresses asks
    /// [`is_api_server`](Self::is_api_server) before it takes one.
    pub api_server: Vec<SocketAddr>,
}

impl NodeSettings {
    /// Whether the proxy needs this external or load-balancer address of a service port for the API server: if all of it
    /// led to this node, the proxy would be cut off. Not so where the service port is what the proxy finds the API server
    /// by.
    pub fn is_api_server(&self, address: IpAddr, port: u16, protocol: Protocol) -> bool {
        let is_own_port =
            protocol == Protocol::Tcp && self.api_server.contains(&SocketAddr::new(address, port));
        !is_own_port && self.api_server.iter().any(|socket| socket.ip() == address)
    }
}

/// How to tell that a local pod sent a packet (`detectLocalMode`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalDetector {
    /// Its source address is in this range.
    Cidr(IpNet),
    /// It came in through the interface of this name.
    Interface(Name),
    /// It came in through an interface whose name begins like this.
    InterfacePrefix(Name),
}

/// The node's addresses that answer on node ports. Loopback addresses never do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// Every local address.
    All,
    /// Local addresses in these ranges, which are sorted and do not overlap.
    Within(Vec<IpNet>),
}

/// One service port as this node must serve it.
///
/// Which list a packet may use follows from how it came:
///
/// | to | sent by | list |
/// |---|---|---|
/// | cluster IP | anybody | [`internal_endpoints`](Self::internal_endpoints) |
/// | node port, load-balancer address, external IP | a local pod, or this node itself | `cluster_endpoints` |
/// | the same | anybody else | [`external_endpoints`](Self::external_endpoints) |
///
/// An empty list means that new connections end as [`unserved`](Self::unserved) says.
#[derive(Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Port on all addresses below; the node port has a number of its own.
    pub port: u16,
    /// The cluster IP; absent when another service port already answers there.
    pub cluster_ip: Option<IpAddr>,
    /// Load-balancer addresses that are short-cut here, sorted.
    pub load_balancer_ips: Arc<[IpAddr]>,
    /// External IPs, sorted.
    pub external_ips: Arc<[IpAddr]>,
    /// The node port.
    pub node_port: Option<u16>,
    /// Where load balancers ask this node about the Service, if they are to (type LoadBalancer with the
    /// Local policy): a TCP port of the node, the same for all ports of the Service, answered by the proxy
    /// itself. A backend that could be in its way lets it in.
    pub health_check_node_port: Option<u16>,
    /// Who may connect to the load-balancer addresses, sorted and without overlaps; empty means
    /// everybody. Others' packets are dropped, whoever they are and whether there are endpoints or not.
    pub source_ranges: Box<[IpNet]>,
    /// Which endpoints the cluster IP leads to.
    pub internal_traffic_policy: TrafficPolicy,
    /// Which endpoints all other addresses lead to, for those who are not on this node.
    pub external_traffic_policy: TrafficPolicy,
    /// For how long after its last connection a client keeps its endpoint, when it shall
    /// (`sessionAffinity: ClientIP`). All addresses of the service port share that memory.
    pub session_affinity: Option<Duration>,
    /// Who may receive connections under the Cluster policy, sorted; empty where nothing
    /// can come to use it.
    pub cluster_endpoints: Arc<[Endpoint]>,
    /// Who may receive connections under the Local policy, sorted; empty where no such
    /// policy is in use.
    pub local_endpoints: Arc<[Endpoint]>,
    /// For UDP: who receives no new flows from here but keeps those it has, sorted.
    pub lingering_endpoints: Box<[SocketAddr]>,
    /// What becomes of new connections that have no endpoint to go to.
    pub unserved: Unserved,
}

/// What becomes of connections that have no endpoint to go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unserved {
    /// Refused: nobody serves, wherever one asks.
    Reject,
    /// Ignored: other nodes have endpoints, and whoever sent the packet here should try those.
    Drop,
}

impl ServicePort {
    /// A service port that no address leads to yet: open to everybody, under the Cluster policies, without
    /// endpoints, and refused for that.
    pub fn new(port: u16) -> Self {
        Self {
            port,
            cluster_ip: None,
            load_balancer_ips: Arc::default(),
            external_ips: Arc::default(),
            node_port: None,
            health_check_node_port: None,
            source_ranges: Box::default(),
            internal_traffic_policy: TrafficPolicy::Cluster,
            external_traffic_policy: TrafficPolicy::Cluster,
            session_affinity: None,
            cluster_endpoints: Arc::default(),
            local_endpoints: Arc::default(),
            lingering_endpoints: Box::default(),
            unserved: Unserved::Reject,
        }
    }

    /// Addresses that are reached from outside the cluster: load-balancer, then external ones.
    pub fn external_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.load_balancer_ips.iter().chain(&*self.external_ips).copied()
    }

    /// Whether anything but the cluster IP leads here.
    pub fn is_external(&self) -> bool {
        self.node_port.is_some() || self.external_addresses().next().is_some()
    }

    /// Whether any frontend leads here.
    pub fn has_frontend(&self) -> bool {
        self.cluster_ip.is_some() || self.is_external()
    }

    /// Whom the cluster IP leads to.
    pub fn internal_endpoints(&self) -> &Arc<[Endpoint]> {
        self.endpoints_under(self.internal_traffic_policy)
    }

    /// Whom all other addresses lead to, for those who are not on this node.
    pub fn external_endpoints(&self) -> &Arc<[Endpoint]> {
        self.endpoints_under(self.external_traffic_policy)
    }

    fn endpoints_under(&self, policy: TrafficPolicy) -> &Arc<[Endpoint]> {
        match policy {
            TrafficPolicy::Cluster => &self.cluster_endpoints,
            TrafficPolicy::Local => &self.local_endpoints,
        }
    }
}

impl fmt::Debug for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.port)?;
        if let Some(ip) = self.cluster_ip {
            write!(f, " cluster {ip}")?;
        }
        for (kind, ips) in [("lb", &self.load_balancer_ips), ("external", &self.external_ips)] {
            for ip in &**ips {
                write!(f, " {kind} {ip}")?;
            }
        }
        if let Some(port) = self.node_port {
            write!(f, " node-port {port}")?;
        }
        if let Some(port) = self.health_check_node_port {
            write!(f, " health-check-port {port}")?;
        }
        if !self.source_ranges.is_empty() {
            write!(f, " from {:?}", self.source_ranges)?;
        }
        if let Some(timeout) = self.session_affinity {
            write!(f, " sticky {timeout:?}")?;
        }
        for (kind, policy) in
            [("internal", self.internal_traffic_policy), ("external", self.external_traffic_policy)]
        {
            if policy == TrafficPolicy::Local {
                write!(f, " {kind} local")?;
            }
        }
        write!(f, " → {:?}", self.cluster_endpoints)?;
        if !self.local_endpoints.is_empty() {
            write!(f, " locally {:?}", self.local_endpoints)?;
        }
        if !self.lingering_endpoints.is_empty() {
            write!(f, " lingering {:?}", self.lingering_endpoints)?;
        }
        let lacks = self.internal_endpoints().is_empty() || self.external_endpoints().is_empty();
        if lacks && self.unserved == Unserved::Drop { f.write_str(" or drop") } else { Ok(()) }
    }
}

/// One address and port that connections are sent to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Where it runs.
    pub locality: Locality,
}

/// Where an endpoint runs, seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Locality {
    /// On this node.
    Local,
    /// On another node.
    Remote,
    /// Its slice does not say. For traffic policies that counts as not local; but it
    /// may be a pod here, so that a connection to itself must still work.
    Unknown,
}

impl Endpoint {
    /// Address and port.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.socket_address())?;
        match self.locality {
            Locality::Local => f.write_str(" local"),
            Locality::Remote => Ok(()),
            Locality::Unknown => f.write_str(" anywhere"),
        }
    }
}

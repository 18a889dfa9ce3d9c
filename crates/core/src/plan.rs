//! The wanted state of this node's kernel for one IP family.
//!
//! A [`NodePlan`] is complete: an address that it does not contain must not be served. It contains each address at most
//! once, so a backend never has to resolve a conflict ([`crate::vip_owners`] does).

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::{IpFamily, Protocol};
use crate::event::TrafficPolicy;
use crate::name::{Name, ServicePortName};

/// The complete wanted state of one IP family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// The family of all addresses in the plan.
    pub family: IpFamily,
    /// The settings for all service ports.
    pub node: NodeSettings,
    /// The service ports by name.
    pub service_ports: HashMap<ServicePortName, Arc<ServicePort>>,
}

impl NodePlan {
    /// A plan without service ports.
    pub fn new(family: IpFamily, node: NodeSettings) -> Self {
        Self { family, node, service_ports: HashMap::new() }
    }

    /// The names of all service ports, in the order in which pods need them: the API server's Service, cluster DNS, the
    /// rest by name.
    ///
    /// Sorts the whole plan: for the initial sync, not for a change.
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

/// The settings for all service ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// How to detect packets of local pods. Without it no packet counts as one: traffic to cluster IPs is not
    /// masqueraded because of its source, and external traffic policies apply to pods as to all other clients.
    pub local_detector: Option<LocalDetector>,
    /// Whether all traffic to cluster IPs is masqueraded.
    pub masquerade_all: bool,
    /// The packet mark bit that makes postrouting masquerade a packet.
    pub masquerade_mark: u32,
    /// The node's addresses that serve node ports.
    pub node_port_addresses: NodePortAddresses,
    /// The ranges of cluster IPs, sorted and without overlaps. New connections to an address in these ranges that
    /// belongs to no Service are dropped, so that they do not leave the cluster.
    pub service_cidrs: Vec<IpNet>,
    /// The addresses at which the proxy connects to the API server, sorted. A mode that assigns whole addresses to the
    /// node must check [`is_api_server`](Self::is_api_server) first.
    pub api_server: Vec<SocketAddr>,
}

impl NodeSettings {
    /// Whether the proxy needs this external or load-balancer address of a service port for the API server: if the
    /// whole address were local, the proxy could not reach the API server any more. False if the proxy reaches the API
    /// server through this service port.
    pub fn is_api_server(&self, address: IpAddr, port: u16, protocol: Protocol) -> bool {
        let is_own_port =
            protocol == Protocol::Tcp && self.api_server.contains(&SocketAddr::new(address, port));
        !is_own_port && self.api_server.iter().any(|socket| socket.ip() == address)
    }
}

/// How to detect packets of local pods (`detectLocalMode`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalDetector {
    /// By a source address in this range.
    Cidr(IpNet),
    /// By the incoming interface of this name.
    Interface(Name),
    /// By an incoming interface whose name has this prefix.
    InterfacePrefix(Name),
}

/// The node's addresses that serve node ports. Loopback addresses never do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// Every local address.
    All,
    /// Local addresses in these ranges, which are sorted and do not overlap.
    Within(Vec<IpNet>),
}

/// One service port as this node must serve it.
///
/// The endpoints of a connection depend on its destination and its client:
///
/// | destination | client | endpoints |
/// |---|---|---|
/// | cluster IP | all | [`internal_endpoints`](Self::internal_endpoints) |
/// | node port, load-balancer address, external IP | a local pod, or this node itself | `cluster_endpoints` |
/// | the same | all others | [`external_endpoints`](Self::external_endpoints) |
///
/// If the list is empty, new connections are rejected or dropped: see [`unserved`](Self::unserved).
#[derive(Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The port of all addresses below, except the node port.
    pub port: u16,
    /// The cluster IP; absent if another service port owns it.
    pub cluster_ip: Option<IpAddr>,
    /// Load-balancer addresses (`ipMode: VIP`), sorted.
    pub load_balancer_ips: Arc<[IpAddr]>,
    /// External IPs, sorted.
    pub external_ips: Arc<[IpAddr]>,
    /// The node port.
    pub node_port: Option<u16>,
    /// The node's TCP port for health checks of load balancers, if they are used (type LoadBalancer with the Local
    /// policy). It is the same for all ports of the Service, and the proxy itself serves it. A backend whose rules
    /// could block it must accept it.
    pub health_check_node_port: Option<u16>,
    /// The clients that may connect to the load-balancer addresses, sorted and without overlaps; empty means all.
    /// Packets of other clients are dropped, local ones included, even if there are no endpoints.
    pub source_ranges: Box<[IpNet]>,
    /// Selects the endpoints of the cluster IP.
    pub internal_traffic_policy: TrafficPolicy,
    /// Selects the endpoints of all other addresses, for clients that are not on this node.
    pub external_traffic_policy: TrafficPolicy,
    /// With `sessionAffinity: ClientIP`, how long after its last connection a client keeps its endpoint. All addresses
    /// of the service port share the affinity.
    pub session_affinity: Option<Duration>,
    /// The endpoints under the Cluster policy, sorted; empty if the list is not used.
    pub cluster_endpoints: Arc<[Endpoint]>,
    /// The endpoints under the Local policy, sorted; empty if no policy is Local.
    pub local_endpoints: Arc<[Endpoint]>,
    /// For UDP: endpoints that receive no new flows but keep those they have, sorted.
    pub draining_endpoints: Box<[SocketAddr]>,
    /// What happens to new connections whose list of endpoints is empty.
    pub unserved: Unserved,
}

/// What happens to connections whose list of endpoints is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unserved {
    /// They are rejected: the Service has no endpoints on any node.
    Reject,
    /// They are dropped: other nodes have endpoints, and the client or load balancer should use those.
    Drop,
}

impl ServicePort {
    /// A service port without addresses and endpoints, under the Cluster policies and open to all clients.
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
            draining_endpoints: Box::default(),
            unserved: Unserved::Reject,
        }
    }

    /// Load-balancer addresses, then external IPs.
    pub fn external_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.load_balancer_ips.iter().chain(&*self.external_ips).copied()
    }

    /// Whether it has an address other than the cluster IP.
    pub fn is_external(&self) -> bool {
        self.node_port.is_some() || self.external_addresses().next().is_some()
    }

    /// Whether it has any address.
    pub fn has_address(&self) -> bool {
        self.cluster_ip.is_some() || self.is_external()
    }

    /// The endpoints of the cluster IP.
    pub fn internal_endpoints(&self) -> &Arc<[Endpoint]> {
        self.endpoints_under(self.internal_traffic_policy)
    }

    /// The endpoints of all other addresses, for clients that are not on this node.
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
            write!(f, " affinity {timeout:?}")?;
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
        if !self.draining_endpoints.is_empty() {
            write!(f, " draining {:?}", self.draining_endpoints)?;
        }
        let lacks = self.internal_endpoints().is_empty() || self.external_endpoints().is_empty();
        if lacks && self.unserved == Unserved::Drop { f.write_str(" or drop") } else { Ok(()) }
    }
}

/// The health check of a Service for load balancers (`healthCheckNodePort`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// `spec.healthCheckNodePort`.
    pub port: u16,
    /// The number of the Service's ready endpoints on this node. Terminating endpoints do not count, even while they
    /// receive traffic: load balancers should send no more.
    pub local_endpoints: usize,
}

/// One endpoint that connections are sent to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its IP.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Where it runs.
    pub locality: Locality,
}

/// Where an endpoint runs, relative to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Locality {
    /// On this node.
    Local,
    /// On another node.
    Remote,
    /// Its slice does not have its node. Traffic policies treat it as not local, but it may be a local pod, so a
    /// connection to itself must still work.
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

//! What one family of this node's kernel should hold, and how that differs from
//! what it was last known to hold.
//!
//! A [`NodePlan`] is complete: a frontend that it leaves out must not answer.
//! It names every frontend at most once, so that a backend never has to decide
//! between two claims ([`crate::claims`] did).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::address::IpFamily;
use crate::name::ServicePortName;

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
    /// Which traffic to cluster IPs gets this node's source address.
    pub cluster_ip_masquerade: Masquerade,
    /// The packet mark bit that carries "masquerade this" to postrouting.
    pub masquerade_mark: u32,
    /// Which of the node's addresses answer on node ports.
    pub node_port_addresses: NodePortAddresses,
}

/// Whether packets get this node's source address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Masquerade {
    /// None do.
    Never,
    /// All do.
    Always,
    /// All do but those that a local pod sent.
    Unless(LocalDetector),
}

/// How to tell that a local pod sent a packet (`detectLocalMode`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalDetector {
    /// Its source address is in this range.
    Cidr(IpNet),
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
#[derive(Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Port on all addresses below; the node port has a number of its own.
    pub port: u16,
    /// The cluster IP; absent when another service port already answers there.
    pub cluster_ip: Option<IpAddr>,
    /// Load-balancer addresses that are short-cut here, sorted.
    pub load_balancer_ips: Box<[IpAddr]>,
    /// External IPs, sorted.
    pub external_ips: Box<[IpAddr]>,
    /// The node port.
    pub node_port: Option<u16>,
    /// Who may receive connections under the Cluster policy, sorted; with none,
    /// every frontend rejects.
    pub cluster_endpoints: Arc<[Endpoint]>,
}

impl ServicePort {
    /// Addresses that are reached from outside the cluster: load-balancer, then external ones.
    pub fn external_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.load_balancer_ips.iter().chain(&self.external_ips).copied()
    }

    /// Whether any frontend leads here.
    pub fn has_frontend(&self) -> bool {
        self.cluster_ip.is_some() || self.node_port.is_some() || self.external_addresses().next().is_some()
    }
}

impl fmt::Debug for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.port)?;
        if let Some(ip) = self.cluster_ip {
            write!(f, " cluster {ip}")?;
        }
        for (kind, ips) in [("lb", &self.load_balancer_ips), ("external", &self.external_ips)] {
            for ip in ips {
                write!(f, " {kind} {ip}")?;
            }
        }
        if let Some(port) = self.node_port {
            write!(f, " node-port {port}")?;
        }
        write!(f, " → {:?}", self.cluster_endpoints)
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

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))?;
        match self.locality {
            Locality::Local => f.write_str(" local"),
            Locality::Remote => Ok(()),
            Locality::Unknown => f.write_str(" anywhere"),
        }
    }
}

/// How a plan differs from the last one that a backend made true.
///
/// Exact: a service port that changed and changed back is not in it.
#[derive(Debug, Default)]
pub struct ChangeSet {
    service_ports: HashMap<ServicePortName, Option<Arc<ServicePort>>>,
    node: Option<NodeSettings>,
    complete: bool,
}

impl ChangeSet {
    /// The set that says "compare everything": nothing is known of the kernel's state.
    pub fn complete() -> Self {
        Self { complete: true, ..Self::default() }
    }

    /// Whether the backend must compare the whole plan with what is loaded.
    ///
    /// True for the first plan, and when a full resync was asked for. The
    /// service ports are then not listed one by one.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        !self.complete && self.node.is_none() && self.service_ports.is_empty()
    }

    /// Number of service ports listed.
    pub fn len(&self) -> usize {
        self.service_ports.len()
    }

    /// The service ports that were added, changed or removed, each as it was when
    /// last applied; `None` when it did not exist. What it is now is in the plan.
    pub fn service_ports(&self) -> impl Iterator<Item = (&ServicePortName, Option<&Arc<ServicePort>>)> {
        self.service_ports.iter().map(|(name, old)| (name, old.as_ref()))
    }

    /// The node's settings as they were when last applied, if they changed since.
    pub fn old_node(&self) -> Option<&NodeSettings> {
        self.node.as_ref()
    }

    /// Notes that `name` went from `old` to `new`, keeping what it was when last applied.
    pub(crate) fn record(
        &mut self,
        name: &ServicePortName,
        old: Option<Arc<ServicePort>>,
        new: Option<&Arc<ServicePort>>,
    ) {
        if self.complete {
            return;
        }
        match self.service_ports.entry(name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(old);
            }
            Entry::Occupied(entry) => {
                if entry.get().as_ref() == new {
                    entry.remove();
                }
            }
        }
    }

    /// Notes that the node's settings went from `old` to `new`.
    pub(crate) fn record_node(&mut self, old: NodeSettings, new: &NodeSettings) {
        if self.complete {
            return;
        }
        let applied = self.node.take().unwrap_or(old);
        self.node = (applied != *new).then_some(applied);
    }
}

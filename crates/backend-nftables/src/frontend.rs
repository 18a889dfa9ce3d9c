//! The elements that make a frontend: what decides where it leads, and its slots.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::event::TrafficPolicy;
use portolan_core::plan::Unserved;
use portolan_core::{Endpoint, Protocol, ServicePort, ServicePortName};
use portolan_nft::Bytes;

use crate::affinity;
use crate::class::Class;
use crate::delivery::{Counts, Kind};
use crate::layout::{Container, IGNORE, REFUSE};
use crate::slots::Target;

/// What an element of ours maps its key to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: it is in a set.
    Member,
    /// Nothing: it is a range of keys, as long as so many leading bits of the last part say.
    Prefix(u8),
    /// The endpoint of a slot.
    Target(Target),
    /// The class of a VIP or node port.
    Class(Class),
    /// A chain that a service port has for itself, or one that refuses.
    Chain(Arc<str>),
}

/// An element: where it is, its key, what it maps to.
pub type Item = (Container, Bytes, Value);

/// The endpoint lists of a service port, as they are kept in slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Those of the Cluster policy.
    Cluster,
    /// Those of the Local policy.
    Local,
}

impl List {
    /// The list that the cluster IP leads to.
    pub fn internal(port: &ServicePort) -> Self {
        match port.internal_traffic_policy {
            TrafficPolicy::Cluster => Self::Cluster,
            TrafficPolicy::Local => Self::Local,
        }
    }

    /// This list of a service port.
    pub fn of(self, port: &ServicePort) -> &[Endpoint] {
        match self {
            Self::Cluster => &port.cluster_endpoints,
            Self::Local => &port.local_endpoints,
        }
    }
}

/// One address and port that leads to a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontend {
    /// What kind of traffic comes here.
    pub kind: Kind,
    /// `address . protocol . port`, or `protocol . port` for a node port.
    pub key: Bytes,
    /// The list that everybody uses, or those on this node where others are kept apart.
    all: List,
    /// Whether those from outside use the local list.
    is_local: bool,
    /// Whether source ranges are in force here.
    is_load_balancer: bool,
}

impl Frontend {
    /// All frontends of a service port.
    pub fn all(name: &ServicePortName, port: &ServicePort) -> Vec<Self> {
        let is_local = port.external_traffic_policy == TrafficPolicy::Local;
        let vip = |kind, is_load_balancer| {
            move |address: &IpAddr| {
                let mut key = Bytes::new();
                key.push_addr(*address);
                push_port(&mut key, name.protocol, port.port);
                Self { kind, key, all: List::Cluster, is_local, is_load_balancer }
            }
        };
        let node_port = port.node_port.map(|number| {
            let mut key = Bytes::new();
            push_port(&mut key, name.protocol, number);
            Self { kind: Kind::NodePort, key, all: List::Cluster, is_local, is_load_balancer: false }
        });
        let cluster = port.cluster_ip.iter().map(vip(Kind::Cluster, false));
        cluster
            .map(|frontend| Self { all: List::internal(port), is_local: false, ..frontend })
            .chain(port.load_balancer_ips.iter().map(vip(Kind::External, true)))
            .chain(port.external_ips.iter().map(vip(Kind::External, false)))
            .chain(node_port)
            .collect()
    }

    /// The maps that hold its slots, and the list that each of them holds.
    pub fn slot_maps(&self) -> impl Iterator<Item = (Container, List)> {
        let (all, outside) = match self.kind {
            Kind::Cluster | Kind::External => (Container::Endpoints, Container::LocalEndpoints),
            Kind::NodePort => (Container::NodePortEndpoints, Container::NodePortLocalEndpoints),
        };
        [(all, self.all)].into_iter().chain(self.is_local.then_some((outside, List::Local)))
    }

    /// The element of one of its slots in `map`.
    pub fn slot(&self, map: Container, slot: u32, target: Target) -> Item {
        (map, self.slot_key(slot), Value::Target(target))
    }

    /// The key of one of its slots.
    pub fn slot_key(&self, slot: u32) -> Bytes {
        let mut key = self.key;
        key.push_u32_host(slot);
        key
    }

    /// The class it is in; none when nobody serves it or it has chains of its own.
    pub fn class(&self, port: &ServicePort) -> Option<Class> {
        let counts = counts(self.kind, port).filter(|_| port.session_affinity.is_none())?;
        Some(Class { kind: self.kind, counts })
    }

    /// The elements that decide what becomes of a packet to it; all but its slots.
    pub fn heads(&self, name: &ServicePortName, port: &ServicePort) -> Vec<Item> {
        let mut heads = vec![self.verdict(name, port)];
        if port.session_affinity.is_some() && counts(self.kind, port).is_some() {
            let chain = affinity::learn_chain(&affinity::owner(name));
            let map = match self.kind {
                Kind::Cluster | Kind::External => Container::Affinity,
                Kind::NodePort => Container::NodePortAffinity,
            };
            heads.push((map, self.key, Value::Chain(chain.into())));
        }
        if self.is_load_balancer && !port.source_ranges.is_empty() {
            heads.push((Container::Restricted, self.key, Value::Member));
            heads.extend(port.source_ranges.iter().map(|range| {
                let mut key = self.key;
                key.push_addr(range.network());
                (Container::SourceRanges, key, Value::Prefix(range.prefix_len()))
            }));
        }
        heads
    }

    fn verdict(&self, name: &ServicePortName, port: &ServicePort) -> Item {
        let is_node_port = self.kind == Kind::NodePort;
        let value = match self.class(port) {
            Some(class) => Value::Class(class),
            None if counts(self.kind, port).is_some() => {
                Value::Chain(affinity::chain_name(self.kind, &affinity::owner(name)).into())
            }
            // Only a cluster IP can lack local endpoints altogether: external addresses lead those on
            // this node to all endpoints, so they have a class as long as there are any.
            None if port.unserved == Unserved::Drop && !is_node_port => Value::Chain(IGNORE.into()),
            None => Value::Chain(REFUSE.into()),
        };
        (if is_node_port { Container::NodePorts } else { Container::Services }, self.key, value)
    }
}

/// How many slots a frontend of this kind has; nothing when there is no endpoint for anybody.
pub fn counts(kind: Kind, port: &ServicePort) -> Option<Counts> {
    let count = |endpoints: &[_]| u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
    let (all, outside) = match kind {
        Kind::Cluster => (port.cluster_ip.is_some().then(|| count(port.internal_endpoints()))?, None),
        Kind::External if port.external_addresses().next().is_none() => return None,
        Kind::NodePort if port.node_port.is_none() => return None,
        Kind::External | Kind::NodePort => {
            let is_local = port.external_traffic_policy == TrafficPolicy::Local;
            (count(&port.cluster_endpoints), is_local.then(|| count(&port.local_endpoints)))
        }
    };
    (all > 0).then_some(Counts { all, outside })
}

/// The address that these bytes are.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    }
}

fn push_port(key: &mut Bytes, protocol: Protocol, port: u16) {
    key.push_proto(protocol.number()).push_port(port);
}

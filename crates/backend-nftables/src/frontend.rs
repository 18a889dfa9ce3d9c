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

/// The most addresses from outside the cluster that have slots for themselves.
///
/// A service port with more has one chain and one set of slots for all of them (`affinity.rs`), so that a change of
/// its endpoints costs the same however many addresses it has. Those cost the kernel some kilobytes, which a few
/// addresses do not.
const MOST_WITH_SLOTS: usize = 4;

/// Whether the addresses of a service port from outside the cluster share a chain and slots.
pub fn shares_slots(port: &ServicePort) -> bool {
    port.load_balancer_ips.len() + port.external_ips.len() > MOST_WITH_SLOTS
}

/// What decides the elements of addresses that share slots: where it is equal, not one of them changes.
pub fn shared_heads(port: &ServicePort) -> Option<impl PartialEq> {
    let learns = port.session_affinity.is_some() && counts(Kind::External, port).is_some();
    let addresses = (&port.load_balancer_ips, &port.external_ips);
    shares_slots(port).then_some((port.port, addresses, learns, &port.source_ranges))
}

/// One address and port that leads to a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Whether its slots are those that all addresses of the service port share.
    shares_slots: bool,
}

impl Frontend {
    /// The frontends of a service port; without its addresses from outside the cluster unless `external`.
    pub fn all(name: &ServicePortName, port: &ServicePort, external: bool) -> Vec<Self> {
        let is_local = port.external_traffic_policy == TrafficPolicy::Local;
        let vip = |kind, is_load_balancer| {
            move |address: &IpAddr| {
                let mut key = Bytes::new();
                key.push_addr(*address);
                push_port(&mut key, name.protocol, port.port);
                let shares_slots = kind == Kind::External && shares_slots(port);
                Self { kind, key, all: List::Cluster, is_local, is_load_balancer, shares_slots }
            }
        };
        let node_port = port.node_port.map(|number| {
            let mut key = Bytes::new();
            push_port(&mut key, name.protocol, number);
            let (kind, all) = (Kind::NodePort, List::Cluster);
            Self { kind, key, all, is_local, is_load_balancer: false, shares_slots: false }
        });
        let cluster = port.cluster_ip.iter().map(vip(Kind::Cluster, false));
        cluster
            .map(|frontend| Self { all: List::internal(port), is_local: false, ..frontend })
            .chain(port.load_balancer_ips.iter().filter(|_| external).map(vip(Kind::External, true)))
            .chain(port.external_ips.iter().filter(|_| external).map(vip(Kind::External, false)))
            .chain(node_port)
            .collect()
    }

    /// The maps that hold its slots, and the list that each of them holds.
    pub fn slot_maps(&self) -> impl Iterator<Item = (Container, List)> {
        let (all, outside) = match self.kind {
            Kind::Cluster | Kind::External => (Container::Endpoints, Container::LocalEndpoints),
            Kind::NodePort => (Container::NodePortEndpoints, Container::NodePortLocalEndpoints),
        };
        let maps = [Some((all, self.all)), self.is_local.then_some((outside, List::Local))];
        maps.into_iter().flatten().filter(|_| !self.shares_slots)
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
        let has_own_chain = self.shares_slots || port.session_affinity.is_some();
        let counts = counts(self.kind, port).filter(|_| !has_own_chain)?;
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
            None if self.shares_slots || counts(self.kind, port).is_some() => {
                Value::Chain(affinity::chain_name(self.kind, &affinity::owner(name)).into())
            }
            None => Value::Chain(unserved(self.kind, port).into()),
        };
        (if is_node_port { Container::NodePorts } else { Container::Services }, self.key, value)
    }
}

/// The chain for a frontend of this kind that nobody serves.
///
/// Only a cluster IP can lack local endpoints altogether: external addresses lead those on this node to all
/// endpoints, so they have slots as long as there are any.
pub fn unserved(kind: Kind, port: &ServicePort) -> &'static str {
    if port.unserved == Unserved::Drop && kind != Kind::NodePort { IGNORE } else { REFUSE }
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

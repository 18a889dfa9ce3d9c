//! The elements of a frontend: its verdict elements, and its slots.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::event::TrafficPolicy;
use portolan_core::plan::Unserved;
use portolan_core::{Endpoint, Protocol, ServicePort, ServicePortName};
use portolan_nft::Bytes;

use crate::class::Class;
use crate::dedicated;
use crate::delivery::{Counts, Kind};
use crate::layout::{IGNORE, REFUSE, ServiceSet};
use crate::slots::Target;

/// What an element maps its key to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: an element of a set.
    Member,
    /// Nothing: a range of keys that share this many leading bits of the last component.
    Prefix(u8),
    /// The endpoint of a slot.
    Target(Target),
    /// The class of a VIP or node port.
    Class(Class),
    /// A dedicated chain, or one that rejects.
    Chain(Arc<str>),
}

/// An element: its set, its key, its value.
pub type SetElement = (ServiceSet, Bytes, Value);

/// The endpoint lists of a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Those of the Cluster policy.
    Cluster,
    /// Those of the Local policy.
    Local,
}

impl List {
    /// All lists.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::Local];

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

/// The most external addresses that have separate slots.
///
/// A service port with more has one chain and one map of slots for all of them (`dedicated.rs`), so that the cost of a
/// change of its endpoints does not depend on the number of its addresses. The chain and the map cost the kernel some
/// kilobytes, which is not worth it for a few addresses.
const MOST_WITH_SLOTS: usize = 4;

/// Whether the external addresses of a service port share a chain and slots.
pub fn shares_slots(port: &ServicePort) -> bool {
    port.load_balancer_ips.len() + port.external_ips.len() > MOST_WITH_SLOTS
}

/// What determines the verdict elements of addresses that share slots: while it is equal, none of them changes.
pub fn shared_verdict_elements(port: &ServicePort) -> Option<impl PartialEq> {
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
    /// The list for all clients, or for clients on this node where others are separate.
    all: List,
    /// Whether clients on other hosts use the local list.
    is_local: bool,
    /// Whether source ranges apply.
    is_load_balancer: bool,
    /// Whether it uses the slots that all external addresses of the service port share.
    shares_slots: bool,
}

impl Frontend {
    /// The frontends of a service port; without its external addresses unless `external`.
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
    pub fn slot_maps(&self) -> impl Iterator<Item = (ServiceSet, List)> {
        let (all, outside) = match self.kind {
            Kind::Cluster | Kind::External => (ServiceSet::Endpoints, ServiceSet::LocalEndpoints),
            Kind::NodePort => (ServiceSet::NodePortEndpoints, ServiceSet::NodePortLocalEndpoints),
        };
        let maps = [Some((all, self.all)), self.is_local.then_some((outside, List::Local))];
        maps.into_iter().flatten().filter(|_| !self.shares_slots)
    }

    /// The element of one of its slots in `map`.
    pub fn slot(&self, map: ServiceSet, slot: u32, target: Target) -> SetElement {
        (map, self.slot_key(slot), Value::Target(target))
    }

    /// The key of one of its slots.
    pub fn slot_key(&self, slot: u32) -> Bytes {
        let mut key = self.key;
        key.push_u32_host(slot);
        key
    }

    /// Its class; none without endpoints or with a dedicated chain.
    pub fn class(&self, port: &ServicePort) -> Option<Class> {
        let has_own_chain = self.shares_slots || port.session_affinity.is_some();
        let counts = counts(self.kind, port).filter(|_| !has_own_chain)?;
        Some(Class { kind: self.kind, counts })
    }

    /// The elements that decide where its packets go; all but its slots.
    pub fn verdict_elements(&self, name: &ServicePortName, port: &ServicePort) -> Vec<SetElement> {
        let mut verdict_elements = vec![self.verdict(name, port)];
        if port.session_affinity.is_some() && counts(self.kind, port).is_some() {
            let chain = dedicated::learn_chain(&dedicated::owner(name));
            let map = match self.kind {
                Kind::Cluster | Kind::External => ServiceSet::Affinity,
                Kind::NodePort => ServiceSet::NodePortAffinity,
            };
            verdict_elements.push((map, self.key, Value::Chain(chain.into())));
        }
        if self.is_load_balancer && !port.source_ranges.is_empty() {
            verdict_elements.push((ServiceSet::Restricted, self.key, Value::Member));
            verdict_elements.extend(port.source_ranges.iter().map(|range| {
                let mut key = self.key;
                key.push_addr(range.network());
                (ServiceSet::SourceRanges, key, Value::Prefix(range.prefix_len()))
            }));
        }
        verdict_elements
    }

    fn verdict(&self, name: &ServicePortName, port: &ServicePort) -> SetElement {
        let is_node_port = self.kind == Kind::NodePort;
        let value = match self.class(port) {
            Some(class) => Value::Class(class),
            None if self.shares_slots || counts(self.kind, port).is_some() => {
                Value::Chain(dedicated::chain_name(self.kind, &dedicated::owner(name)).into())
            }
            None => Value::Chain(unserved(self.kind, port).into()),
        };
        (if is_node_port { ServiceSet::NodePorts } else { ServiceSet::Services }, self.key, value)
    }
}

/// The chain for a frontend of this kind without endpoints.
///
/// Only a cluster IP is without endpoints when none is local: external addresses lead clients on this node to all
/// endpoints.
pub fn unserved(kind: Kind, port: &ServicePort) -> &'static str {
    if port.unserved == Unserved::Drop && kind != Kind::NodePort { IGNORE } else { REFUSE }
}

/// The number of slots of a frontend of this kind; none without endpoints.
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

//! The elements that make a frontend: its verdict, its slots, or its entry among the rejected.

use portolan_core::{Protocol, ServicePort, ServicePortName};
use portolan_nft::Bytes;

use crate::class::{Class, Kind};
use crate::layout::Container;
use crate::slots::{Slots, Target};

/// What an element of ours maps its key to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Nothing: it is in a set.
    Member,
    /// The endpoint of a slot.
    Target(Target),
    /// The class of a VIP or node port.
    Class(Class),
}

/// One address and port that leads to a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontend {
    /// What kind of traffic comes here.
    pub kind: Kind,
    /// `address . protocol . port`, or `protocol . port` for a node port.
    pub key: Bytes,
}

impl Frontend {
    /// All frontends of a service port.
    pub fn all(name: &ServicePortName, port: &ServicePort) -> Vec<Self> {
        let vip = |kind| {
            move |address| {
                let mut key = Bytes::new();
                key.push_addr(address);
                push_port(&mut key, name.protocol, port.port);
                Self { kind, key }
            }
        };
        let node_port = port.node_port.map(|number| {
            let mut key = Bytes::new();
            push_port(&mut key, name.protocol, number);
            Self { kind: Kind::NodePort, key }
        });
        let cluster = port.cluster_ip.into_iter().map(vip(Kind::Cluster));
        cluster.chain(port.external_addresses().map(vip(Kind::External))).chain(node_port).collect()
    }

    /// Where its class is looked up.
    pub fn dispatch(&self) -> Container {
        match self.kind {
            Kind::Cluster | Kind::External => Container::Services,
            Kind::NodePort => Container::NodePorts,
        }
    }

    /// Where its slots are looked up.
    pub fn endpoints(&self) -> Container {
        match self.kind {
            Kind::Cluster | Kind::External => Container::Endpoints,
            Kind::NodePort => Container::NodePortEndpoints,
        }
    }

    /// Where it is listed while it has no endpoints.
    pub fn reject(&self) -> Container {
        match self.kind {
            Kind::Cluster | Kind::External => Container::Reject,
            Kind::NodePort => Container::NodePortReject,
        }
    }

    /// The key of one of its slots.
    pub fn slot_key(&self, slot: u32) -> Bytes {
        let mut key = self.key;
        key.push_u32_host(slot);
        key
    }

    /// The class it is in with this many endpoints; none when it rejects.
    pub fn class(&self, endpoints: u32) -> Option<Class> {
        (endpoints > 0).then_some(Class { kind: self.kind, endpoints })
    }

    /// The element that decides what becomes of a packet to it, with this many endpoints.
    pub fn verdict(&self, endpoints: u32) -> (Container, Bytes, Value) {
        match self.class(endpoints) {
            Some(class) => (self.dispatch(), self.key, Value::Class(class)),
            None => (self.reject(), self.key, Value::Member),
        }
    }

    /// All its elements.
    pub fn elements(&self, slots: &Slots) -> impl Iterator<Item = (Container, Bytes, Value)> {
        let slot = |(slot, target)| (self.endpoints(), self.slot_key(slot), Value::Target(target));
        std::iter::once(self.verdict(slots.count())).chain(slots.iter().map(slot))
    }
}

fn push_port(key: &mut Bytes, protocol: Protocol, port: u16) {
    key.push_proto(protocol.number()).push_port(port);
}

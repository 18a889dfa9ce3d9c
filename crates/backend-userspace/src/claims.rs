//! Which service port answers at which place.
//!
//! A virtual address and port belong to one service port, which the plan sees to. A node port is a claim to
//! all accepted addresses of the node at once; where one of them is also a virtual address of another
//! service port, that goes first.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portolan_core::{Protocol, ServicePort, ServicePortName};

use crate::balancer::{Balancer, Via};
use crate::listen::{Place, Transport};

/// The protocol as sockets have it; SCTP is not served.
pub(crate) fn transport_of(name: &ServicePortName) -> Option<Transport> {
    match name.protocol {
        Protocol::Tcp => Some(Transport::Tcp),
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Sctp => None,
    }
}

/// The addresses of a service port that make a place with its port, each with its kind.
pub(crate) fn virtual_addresses(port: &ServicePort) -> impl Iterator<Item = (IpAddr, Via)> {
    let cluster = port.cluster_ip.iter().map(|address| (*address, Via::ClusterIp));
    let balanced = port.load_balancer_ips.iter().map(|address| (*address, Via::LoadBalancer));
    let external = port.external_ips.iter().map(|address| (*address, Via::ExternalIp));
    cluster.chain(balanced).chain(external)
}

/// Who answers where.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    virtual_places: HashMap<Place, (Arc<Balancer>, Via)>,
    node_ports: HashMap<(u16, Transport), Arc<Balancer>>,
}

impl Claims {
    /// The service port answers at these places from now on.
    pub(crate) fn add(&mut self, balancer: &Arc<Balancer>, port: &ServicePort, transport: Transport) {
        for (place, via) in virtual_places(port, transport) {
            self.virtual_places.insert(place, (Arc::clone(balancer), via));
        }
        if let Some(number) = port.node_port {
            self.node_ports.insert((number, transport), Arc::clone(balancer));
        }
    }

    /// The service port no longer answers there. What another has claimed in the meantime stays.
    pub(crate) fn remove(&mut self, balancer: &Arc<Balancer>, port: &ServicePort, transport: Transport) {
        for (place, _) in virtual_places(port, transport) {
            if self.virtual_places.get(&place).is_some_and(|(owner, _)| Arc::ptr_eq(owner, balancer)) {
                self.virtual_places.remove(&place);
            }
        }
        if let Some(number) = port.node_port
            && self.node_ports.get(&(number, transport)).is_some_and(|owner| Arc::ptr_eq(owner, balancer))
        {
            self.node_ports.remove(&(number, transport));
        }
    }

    /// Who answers at a place, and as what. `is_node_address` tells whether node ports answer at an address.
    pub(crate) fn owner(
        &self,
        place: Place,
        is_node_address: impl FnOnce(SocketAddr) -> bool,
    ) -> Option<(&Arc<Balancer>, Via)> {
        let by_address = self.virtual_places.get(&place).map(|(balancer, via)| (balancer, *via));
        let by_node_port = || {
            let balancer = self.node_ports.get(&(place.address.port(), place.transport))?;
            is_node_address(place.address).then_some((balancer, Via::NodePort))
        };
        by_address.or_else(by_node_port)
    }

    /// All node ports.
    pub(crate) fn node_ports(&self) -> impl Iterator<Item = (u16, Transport)> {
        self.node_ports.keys().copied()
    }
}

/// Every place of a service port but those of its node port.
pub(crate) fn virtual_places(port: &ServicePort, transport: Transport) -> impl Iterator<Item = (Place, Via)> {
    virtual_addresses(port)
        .map(move |(address, via)| (Place { address: SocketAddr::new(address, port.port), transport }, via))
}

#[cfg(test)]
mod tests;

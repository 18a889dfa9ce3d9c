//! What brings packets for the places here, and what keeps them off where nobody listens.

use std::sync::Arc;

use portolan_core::ServicePort;
use portolan_core::plan::NodeSettings;
use portolan_netlink::NetlinkError;

use super::{Changed, Frontends};
use crate::balancer::Via;
use crate::capture::{Captures, Extent, Object, Port};
use crate::claims::virtual_addresses;
use crate::listen::{Place, Transport};

impl Frontends {
    /// What brings packets to a place here that is asked as this.
    pub(super) fn capture_at(&self, place: Place, via: Via) -> Object {
        let (address, number) = (place.address.ip(), place.address.port());
        let extent = self.captures.as_ref().map(Captures::extent);
        match (via, extent) {
            (Via::LoadBalancer | Via::ExternalIp, Some(Extent::Ports)) => {
                Object::Port(address, Port { transport: place.transport, number })
            }
            _ => Object::Address(address),
        }
    }

    /// What brings packets for a service port's addresses here. Where that would be whole addresses, those of other
    /// hosts are left out.
    pub(super) fn captures_of(&mut self, port: &ServicePort, transport: Transport) -> Vec<Object> {
        let mut objects = Vec::new();
        for (address, via) in virtual_addresses(port) {
            let place = Place { address: (address, port.port).into(), transport };
            let object = self.capture_at(place, via);
            let is_whole = matches!(object, Object::Address(_)) && via != Via::ClusterIp;
            if !(is_whole && self.is_anothers(place)) {
                objects.push(object);
            }
        }
        objects
    }

    /// Whether an address is another host's, as far as this node knows: the API server's, or one that a route leads to.
    pub(super) fn is_anothers(&mut self, place: Place) -> bool {
        let (address, protocol) = (place.address.ip(), place.transport.protocol());
        let is_api_server = |node: &NodeSettings| node.is_api_server(address, place.address.port(), protocol);
        self.node.as_ref().is_some_and(is_api_server)
            || self.captures.as_mut().is_some_and(|captures| captures.is_elsewhere(address))
    }

    /// Decides anew which whole addresses are captured: others may be other hosts' now.
    pub(super) fn capture_anew(&mut self) {
        if self.captures.as_ref().is_none_or(|captures| captures.extent() == Extent::Ports) {
            return;
        }
        let names: Vec<_> = self.ports.keys().cloned().collect();
        for name in names {
            let Some(loaded) = self.ports.get(&name) else { continue };
            let (port, transport) = (Arc::clone(&loaded.port), loaded.transport);
            let new = self.captures_of(&port, transport);
            let (Some(loaded), Some(captures)) = (self.ports.get_mut(&name), &mut self.captures) else {
                continue;
            };
            for object in &new {
                captures.want(*object, &name.service);
            }
            for object in std::mem::replace(&mut loaded.captures, new) {
                captures.release(object);
            }
        }
    }

    /// Has the kernel refuse what comes to a port that somebody claims and where nobody listens, nor has connections.
    pub(super) fn refuse_if_unserved(&mut self, object: Object) {
        let Object::Port(address, port) = object else { return };
        let place = Place { address: (address, port.number).into(), transport: port.transport };
        let is_claimed = self.claims.owner(place, |_| false).is_some_and(|(_, via)| via != Via::ClusterIp);
        let is_refused = is_claimed && !self.sockets.contains_key(&place) && !self.draining.contains(object);
        if let Some(captures) = &mut self.captures {
            captures.set_refused(address, port, is_refused);
        }
    }

    /// Brings the kernel up to date with what became of places.
    pub(super) fn finish_captures(&mut self, done: &mut Changed) -> Result<(), NetlinkError> {
        if let Some(captures) = &mut self.captures {
            done.add(&captures.add()?);
            done.add(&captures.sweep(|object| self.draining.contains(object))?);
        }
        Ok(())
    }
}

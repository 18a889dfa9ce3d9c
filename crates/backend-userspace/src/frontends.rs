//! The places where this node answers, kept equal to the plan and to the node's addresses.
//!
//! Two call in here: the backend, when the plan changes, and a task of the relay's, when the node's addresses
//! do or something is left to do: what failed is due again, or the last connection of a Service that is gone has
//! ended. They take turns (a mutex), and neither waits for clients.
//!
//! Holds: a socket is open exactly where a service port with somebody to lead to answers, but for places
//! that failed, which are known as such; before a socket is closed and after it is opened its address is
//! this node's.

mod captures;
mod draining;
mod listening;
mod node;
mod settle;
mod stance;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_core::plan::NodeSettings;
use portolan_core::{IpFamily, ServicePort, ServicePortName};
use portolan_netlink::NetlinkError;
use tokio::sync::Notify;

use crate::balancer::Balancer;
use crate::capture::{Captures, Object, Written};
use crate::claims::{Claims, transport_of, virtual_places};
use crate::listen::{Place, Transport};
use crate::origin::Surroundings;
use crate::relay::Relay;
use crate::rtnetlink::InterfaceAddress;

use draining::Draining;
use listening::Listening;

/// Everything that one family's places are made of.
#[derive(Debug)]
pub(crate) struct Frontends {
    family: IpFamily,
    relay: Arc<Relay>,
    surroundings: Arc<Surroundings>,
    /// Nothing where an administrator has made the addresses local.
    captures: Option<Captures>,
    /// Asks whether addresses are local that we capture nothing of.
    lookups: Captures,
    ports: HashMap<ServicePortName, Loaded>,
    claims: Claims,
    node: Option<NodeSettings>,
    addresses: Vec<InterfaceAddress>,
    /// The same, to be asked for one: port 0 of each.
    own: HashSet<SocketAddr>,
    sockets: HashMap<Place, Listening>,
    failed: BTreeSet<Place>,
    draining: Draining,
    /// Wakes who looks after what failed or is draining.
    unfinished: Arc<Notify>,
    /// Service ports of SCTP, which are not served.
    unsupported: HashSet<ServicePortName>,
}

/// A service port that is served.
#[derive(Debug)]
struct Loaded {
    port: Arc<ServicePort>,
    transport: Transport,
    balancer: Arc<Balancer>,
    /// What brings packets for its addresses here.
    captures: Vec<Object>,
}

/// What a change came to.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Routes, rules, sockets, packet filters and lists of endpoints that were written or removed.
    pub(crate) operations: usize,
    /// Messages to the kernel.
    pub(crate) messages: usize,
    /// Their size.
    pub(crate) bytes: usize,
}

impl Changed {
    fn add(&mut self, written: &Written) {
        self.operations += written.objects;
        self.messages += written.messages;
        self.bytes += written.bytes;
    }
}

impl Frontends {
    /// Nothing is served yet. With `captures`, packets for service addresses are brought here.
    pub(crate) fn new(
        family: IpFamily,
        relay: Arc<Relay>,
        captures: Option<Captures>,
    ) -> Result<Self, NetlinkError> {
        Ok(Self {
            family,
            relay,
            surroundings: Arc::new(Surroundings::open()?),
            captures,
            lookups: Captures::open(family)?,
            ports: HashMap::new(),
            claims: Claims::default(),
            node: None,
            addresses: Vec::new(),
            own: HashSet::new(),
            sockets: HashMap::new(),
            failed: BTreeSet::new(),
            draining: Draining::default(),
            unfinished: Arc::default(),
            unsupported: HashSet::new(),
        })
    }

    /// Reads what the kernel has: our routes and rules, and the node's addresses.
    pub(crate) fn read(&mut self) -> Result<(), NetlinkError> {
        if let Some(captures) = &mut self.captures {
            captures.read()?;
        }
        self.read_addresses().map(drop)
    }

    /// Whether the kernel still has what it was given.
    pub(crate) fn are_intact(&mut self) -> Result<bool, NetlinkError> {
        self.captures.as_mut().map_or(Ok(true), Captures::are_intact)
    }

    /// The names of all service ports that are known, whether they are served or cannot be.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ServicePortName> {
        self.ports.keys().chain(&self.unsupported)
    }

    /// Follows these changes; `all` compares every place besides.
    pub(crate) async fn follow(
        &mut self,
        node: &NodeSettings,
        changes: &[(ServicePortName, Option<Arc<ServicePort>>)],
        all: bool,
    ) -> Result<Changed, NetlinkError> {
        let mut done = Changed::default();
        let mut touched = Vec::new();
        let is_new_node = self.node.as_ref() != Some(node);
        if is_new_node {
            self.surroundings.set_detector(node.local_detector.clone());
            self.node = Some(node.clone());
            self.capture_anew();
        }
        // What one service port gives up another may get, so first all that goes.
        for (name, port) in changes {
            self.take_out(name, port.as_ref(), &mut touched);
        }
        for (name, port) in changes {
            if let Some(port) = port {
                self.put_in(name, port, &mut touched, &mut done);
            }
        }
        if all || is_new_node {
            touched.extend(self.sockets.keys().copied());
            touched.extend(self.all_places());
        }
        // Whatever the kernel says of routes, sockets are opened as far as possible.
        let added = self.captures.as_mut().map_or_else(|| Ok(Written::default()), Captures::add);
        done.operations += self.settle(touched).await;
        done.add(&added?);
        self.finish_captures(&mut done)?;
        Ok(done)
    }

    /// Tells when something failed, or connections keep an address; then [`retry`](Self::retry) and
    /// [`release`](Self::release) have something to do.
    pub(crate) fn unfinished(&self) -> Arc<Notify> {
        Arc::clone(&self.unfinished)
    }

    /// Whether they have.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.failed.is_empty() || !self.draining.is_empty()
    }

    /// Gives addresses back that no connection goes on by.
    pub(crate) fn release(&mut self) -> Result<(), NetlinkError> {
        let finished = self.draining.take_finished();
        if finished.is_empty() {
            return Ok(());
        }
        for object in &finished {
            self.refuse_if_unserved(*object);
        }
        if let Some(captures) = &mut self.captures {
            captures.doubt(finished);
        }
        self.finish_captures(&mut Changed::default())
    }

    /// Takes a service port's claims back, unless its addresses stay as they are.
    fn take_out(&mut self, name: &ServicePortName, new: Option<&Arc<ServicePort>>, touched: &mut Vec<Place>) {
        if new.is_none() && self.unsupported.remove(name) {
            self.relay.unsupported.remove(name);
        }
        let Some(loaded) = self.ports.get_mut(name) else { return };
        if new.is_some_and(|new| have_same_addresses(new, &loaded.port)) {
            return;
        }
        let (port, transport) = (Arc::clone(&loaded.port), loaded.transport);
        self.claims.remove(&loaded.balancer, &port, transport);
        let given_up = std::mem::take(&mut loaded.captures);
        if let Some(captures) = &mut self.captures {
            for object in given_up {
                captures.release(object);
            }
        }
        touched.extend(self.places(&port, transport));
        if new.is_none() {
            self.ports.remove(name);
        }
    }

    /// Makes a service port's claims, unless they stand already.
    fn put_in(
        &mut self,
        name: &ServicePortName,
        port: &Arc<ServicePort>,
        touched: &mut Vec<Place>,
        done: &mut Changed,
    ) {
        let Some(transport) = transport_of(name) else {
            if self.unsupported.insert(name.clone()) {
                self.relay.unsupported.add(name);
            }
            return;
        };
        let old = self.ports.remove(name);
        let (before, balancer, mut captures) = if let Some(Loaded { port, balancer, captures, .. }) = old {
            (Some(port), balancer, captures)
        } else {
            let share = self.relay.limits.share(&name.service);
            (None, Arc::new(Balancer::new(name.clone(), Arc::clone(port), share)), Vec::new())
        };
        if before.as_ref() != Some(port) {
            balancer.update(Arc::clone(port));
            done.operations += 1;
            if before.is_none_or(|before| !have_same_addresses(port, &before)) {
                self.claims.add(&balancer, port, transport);
                captures = self.captures_of(port, transport);
                if let Some(kernel) = &mut self.captures {
                    for object in &captures {
                        kernel.want(*object, &name.service);
                    }
                }
            }
            touched.extend(self.places(port, transport));
        }
        self.ports.insert(name.clone(), Loaded { port: Arc::clone(port), transport, balancer, captures });
    }

    /// Where a service port answers.
    fn places(&self, port: &ServicePort, transport: Transport) -> Vec<Place> {
        let own = virtual_places(port, transport).map(|(place, _)| place);
        let node_port = port.node_port.map(|number| self.node_places(number, transport));
        own.chain(node_port.into_iter().flatten()).collect()
    }

    fn all_places(&self) -> Vec<Place> {
        self.ports.values().flat_map(|loaded| self.places(&loaded.port, loaded.transport)).collect()
    }

    /// Tries once more what failed.
    pub(crate) async fn retry(&mut self) -> Result<(), NetlinkError> {
        if self.failed.is_empty() {
            return Ok(());
        }
        if let Some(captures) = &mut self.captures {
            captures.add()?;
        }
        let failed = self.failed.iter().copied().collect();
        self.settle(failed).await;
        self.finish_captures(&mut Changed::default())
    }

    /// Closes all sockets and gives all addresses back, those of earlier runs too.
    pub(crate) async fn clean(&mut self) -> Result<(), NetlinkError> {
        self.ports.clear();
        self.forget_unsupported();
        self.claims = Claims::default();
        let all = self.sockets.keys().chain(&self.failed).copied().collect();
        self.settle(all).await;
        self.draining.clear();
        self.captures.as_mut().map_or(Ok(()), |captures| captures.remove_all().map(drop))
    }

    fn forget_unsupported(&mut self) {
        self.unsupported.drain().for_each(|name| self.relay.unsupported.remove(&name));
    }
}

impl Drop for Frontends {
    /// Another backend of this family tells it anew.
    fn drop(&mut self) {
        self.forget_unsupported();
    }
}

/// Whether both answer at the same addresses, and so at the same places.
fn have_same_addresses(one: &ServicePort, other: &ServicePort) -> bool {
    let addresses = |port: &ServicePort| (port.port, port.cluster_ip, port.node_port);
    addresses(one) == addresses(other)
        && one.load_balancer_ips == other.load_balancer_ips
        && one.external_ips == other.external_ips
}

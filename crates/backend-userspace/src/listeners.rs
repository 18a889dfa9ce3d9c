//! The listeners of one IP family, kept equal to the plan and to the node's addresses.
//!
//! There are two callers: the backend, when the plan changes, and a task of the relay, when the node's addresses change or
//! something is unfinished, because a listen address failed or connections drain. They take turns (a mutex), and neither
//! waits for clients.
//!
//! Invariant: a socket is open at exactly the listen addresses of service ports with endpoints (or with a Local policy that
//! drops), except those that failed, which are known as such. Its address is local before it is opened and until it is
//! closed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};

use indexmap::IndexSet;
use portolan_core::plan::{NodePortAddresses, NodeSettings};
use portolan_core::{ApplyReport, ChangeSet, IpFamily, NodePlan, Protocol, ServicePort, ServicePortName};
use portolan_netlink::NetlinkError;
use portolan_netlink::route::InterfaceAddress;
use tokio::sync::Notify;
use tracing::info;

use crate::address::{AddressKind, ListenAddress, Owners, listen_addresses};
use crate::balancer::Balancer;
use crate::capture::{Captures, Object};
use crate::filter::Guard;
use crate::limits::Kind;
use crate::listener::{Listener, ListenerContext};
use crate::node::{NodeContext, list_addresses};
use crate::relay::Relay;
use crate::unserved::{self, ListenError, Unserved};

/// All listeners of one IP family, and what brings packets to them.
#[derive(Debug)]
pub(crate) struct Listeners {
    family: IpFamily,
    relay: Arc<Relay>,
    node: Arc<NodeContext>,
    /// `None` where an administrator has made the addresses local.
    captures: Option<Captures>,
    settings: Option<NodeSettings>,
    addresses: Vec<InterfaceAddress>,
    ports: HashMap<ServicePortName, ServedPort>,
    owners: Owners,
    open: HashMap<ListenAddress, Listener>,
    failed: BTreeSet<ListenAddress>,
    /// What captures the addresses of closed listeners while connections continue: an established connection needs its
    /// route as much as a new one does. Each connection holds the context of its listener.
    draining: HashMap<Object, Vec<Weak<ListenerContext>>>,
    /// Notified when something is unfinished.
    pub(crate) unfinished: Arc<Notify>,
}

/// A service port of the plan.
#[derive(Debug)]
struct ServedPort {
    port: Arc<ServicePort>,
    balancer: Arc<Balancer>,
    addresses: Vec<(ListenAddress, AddressKind)>,
    captures: Vec<Object>,
}

/// How a listen address should be served.
struct Wanted {
    kind: AddressKind,
    balancer: Arc<Balancer>,
    guard: Arc<Guard>,
}

impl Listeners {
    /// No listeners. With `captures`, packets for service addresses are brought to this node.
    pub(crate) fn new(
        family: IpFamily,
        relay: Arc<Relay>,
        captures: Option<Captures>,
    ) -> Result<Self, NetlinkError> {
        Ok(Self {
            family,
            relay,
            node: Arc::new(NodeContext::open()?),
            captures,
            settings: None,
            addresses: Vec::new(),
            ports: HashMap::new(),
            owners: Owners::default(),
            open: HashMap::new(),
            failed: BTreeSet::new(),
            draining: HashMap::new(),
            unfinished: Arc::default(),
        })
    }

    /// Whether the kernel still has our routes and rules.
    pub(crate) fn are_intact(&mut self) -> Result<bool, NetlinkError> {
        self.captures.as_mut().map_or(Ok(true), Captures::are_intact)
    }

    /// Whether listen addresses failed or connections drain.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.failed.is_empty() || !self.draining.is_empty()
    }

    /// Applies changes of the plan, or all of it, compared with what the kernel has. An operation is a route, a rule, a
    /// socket, a packet filter or an endpoint list that was written or removed.
    pub(crate) async fn apply(
        &mut self,
        plan: &NodePlan,
        changes: &ChangeSet,
        is_full: bool,
    ) -> Result<ApplyReport, NetlinkError> {
        let (mut report, mut touched) = (ApplyReport::default(), Vec::new());
        if is_full {
            self.captures.as_mut().map_or(Ok(()), Captures::read)?;
            self.read_addresses()?;
        }
        let is_new_node = self.settings.as_ref() != Some(&plan.node);
        if is_new_node {
            self.set_node(&plan.node, &mut touched);
        }
        let names: Vec<_> = if is_full {
            // The most important ones first.
            let known = self.ports.keys().cloned().chain(self.relay.unsupported(self.family));
            let removed = known.filter(|name| !plan.service_ports.contains_key(name));
            plan.names_by_importance().into_iter().cloned().chain(removed).collect()
        } else {
            changes.service_ports().map(|(name, _)| name.clone()).collect()
        };
        for name in &names {
            report.operations += self.update_port(name, plan.service_ports.get(name), &mut touched);
        }
        if is_full || is_new_node {
            touched.extend(self.open.keys().copied());
            touched.extend(self.ports.values().flat_map(|served| served.addresses.iter().map(|(at, _)| *at)));
        }
        // Even if the kernel rejects routes, sockets are opened as far as possible.
        let added = self.captures.as_mut().map_or(Ok(()), |captures| captures.add(&mut report));
        report.operations += self.settle(touched).await;
        added?;
        self.update_captures(&mut report)?;
        Ok(report)
    }

    fn set_node(&mut self, settings: &NodeSettings, touched: &mut Vec<ListenAddress>) {
        let detector = settings.local_detector.as_ref();
        self.node.update(|node| node.detector = detector.cloned());
        self.settings = Some(settings.clone());
        for name in self.ports.keys().cloned().collect::<Vec<_>>() {
            self.ports[&name].balancer.update(Arc::clone(&self.ports[&name].port), detector);
            self.set_addresses(&name, Vec::new(), touched);
            self.claim(&name, touched);
        }
    }

    /// Adds, changes or removes a service port. Returns how many operations that took.
    fn update_port(
        &mut self,
        name: &ServicePortName,
        port: Option<&Arc<ServicePort>>,
        touched: &mut Vec<ListenAddress>,
    ) -> usize {
        if name.protocol == Protocol::Sctp {
            self.relay.set_unsupported(name, self.family, port.is_some());
            return 0;
        }
        let Some(port) = port else {
            self.set_addresses(name, Vec::new(), touched);
            self.ports.remove(name);
            return 0;
        };
        let detector = self.settings.as_ref().and_then(|settings| settings.local_detector.as_ref());
        let served = self.ports.entry(name.clone()).or_insert_with(|| ServedPort {
            port: Arc::new(ServicePort::new(0)),
            balancer: Arc::new(Balancer::new(name.clone())),
            addresses: Vec::new(),
            captures: Vec::new(),
        });
        let is_changed = served.port != *port;
        if is_changed {
            served.balancer.update(Arc::clone(port), detector);
            served.port = Arc::clone(port);
            touched.extend(served.addresses.iter().map(|(at, _)| *at));
        }
        self.claim(name, touched);
        usize::from(is_changed)
    }

    /// Makes the addresses of a service port those that it has on the present node.
    fn claim(&mut self, name: &ServicePortName, touched: &mut Vec<ListenAddress>) {
        let Some(served) = self.ports.get(name) else { return };
        let addresses = self.addresses_of(&served.port, name.protocol);
        if addresses != served.addresses {
            self.set_addresses(name, addresses, touched);
        }
    }

    fn set_addresses(
        &mut self,
        name: &ServicePortName,
        addresses: Vec<(ListenAddress, AddressKind)>,
        touched: &mut Vec<ListenAddress>,
    ) {
        let captures = self.captures_for(&addresses);
        let Some(served) = self.ports.get_mut(name) else { return };
        let old_addresses = std::mem::replace(&mut served.addresses, addresses);
        let old_captures = std::mem::replace(&mut served.captures, captures);
        touched.extend(old_addresses.iter().chain(&served.addresses).map(|(at, _)| *at));
        self.owners.remove(&served.balancer, &old_addresses);
        self.owners.add(&served.balancer, &served.addresses);
        if let Some(captures) = &mut self.captures {
            for object in &served.captures {
                captures.want(*object, &name.service);
            }
            for object in old_captures {
                captures.release(object);
            }
        }
    }

    fn addresses_of(&self, port: &ServicePort, protocol: Protocol) -> Vec<(ListenAddress, AddressKind)> {
        let accepted = self.settings.as_ref().map(|settings| &settings.node_port_addresses);
        let is_accepted = |own: &&InterfaceAddress| match accepted {
            None => false,
            Some(NodePortAddresses::All) => true,
            Some(NodePortAddresses::Within(ranges)) => {
                ranges.iter().any(|range| range.contains(&own.address))
            }
        };
        listen_addresses(port, protocol, self.addresses.iter().filter(is_accepted))
    }

    /// What brings packets for these addresses to this node. Where that would be whole addresses, those of other hosts are
    /// left out.
    fn captures_for(&mut self, addresses: &[(ListenAddress, AddressKind)]) -> Vec<Object> {
        let mut objects = Vec::new();
        for (address, kind) in addresses {
            let object = self.captures.as_ref().and_then(|captures| captures.object(*address, *kind));
            objects.extend(object.filter(|_| !self.is_other_hosts(*address, *kind)));
        }
        objects
    }

    /// Whether an address cannot be captured because it is captured as a whole and belongs to another host: to the API
    /// server, or to one that a route leads to.
    fn is_other_hosts(&mut self, address: ListenAddress, kind: AddressKind) -> bool {
        let Some(captures) = self.captures.as_mut().filter(|_| kind.is_external()) else { return false };
        let (ip, port, protocol) = (address.socket.ip(), address.socket.port(), address.protocol);
        let is_api_server = |settings: &NodeSettings| settings.is_api_server(ip, port, protocol);
        !captures.by_port && (self.settings.as_ref().is_some_and(is_api_server) || captures.is_elsewhere(ip))
    }

    /// Applies changes of the node's addresses.
    ///
    /// # Errors
    /// The kernel does not list them.
    pub(crate) async fn update_addresses(&mut self) -> Result<(), NetlinkError> {
        if !self.read_addresses()? {
            return Ok(());
        }
        if let Some(captures) = &mut self.captures {
            captures.addresses_changed()?;
        }
        let with_node_port = self.ports.iter().filter(|(_, served)| served.port.node_port.is_some());
        let names: Vec<_> = with_node_port.map(|(name, _)| name.clone()).collect();
        let mut touched = Vec::new();
        for name in &names {
            self.claim(name, &mut touched);
        }
        self.settle(touched).await;
        self.update_captures(&mut ApplyReport::default())
    }

    /// Reads the node's addresses, and returns whether they changed.
    fn read_addresses(&mut self) -> Result<bool, NetlinkError> {
        let addresses = list_addresses(self.family)?;
        let sockets = |all: &[InterfaceAddress]| all.iter().map(|own| own.socket(0)).collect::<HashSet<_>>();
        let is_changed = sockets(&addresses) != sockets(&self.addresses);
        self.node.update(|node| node.addresses = addresses.iter().map(|own| own.address).collect());
        self.addresses = addresses;
        Ok(is_changed)
    }

    /// Retries what failed.
    pub(crate) async fn retry(&mut self) -> Result<(), NetlinkError> {
        if self.failed.is_empty() {
            return Ok(());
        }
        if let Some(captures) = &mut self.captures {
            captures.add(&mut ApplyReport::default())?;
        }
        self.settle(self.failed.iter().copied().collect()).await;
        self.update_captures(&mut ApplyReport::default())
    }

    /// Closes all sockets and removes all routes and rules, also those of earlier runs.
    pub(crate) async fn clean(&mut self) -> Result<(), NetlinkError> {
        self.ports.clear();
        self.forget_unsupported();
        self.owners = Owners::default();
        let all = self.open.keys().chain(&self.failed).copied().collect();
        self.settle(all).await;
        self.draining.clear();
        self.captures.as_mut().map_or(Ok(()), Captures::remove_all)
    }

    fn forget_unsupported(&self) {
        for name in self.relay.unsupported(self.family) {
            self.relay.set_unsupported(&name, self.family, false);
        }
    }

    /// Makes these listen addresses what they should be, in this order. Returns how many operations that took.
    async fn settle(&mut self, touched: Vec<ListenAddress>) -> usize {
        self.relay.limits.refresh();
        let failed_before = self.failed.len();
        let touched: IndexSet<_> = touched.into_iter().collect();
        let (mut closing, mut opening, mut operations) = (Vec::new(), Vec::new(), 0);
        for address in &touched {
            let wanted = self.wanted(*address);
            if let (Some(wanted), Some(listener)) = (&wanted, self.open.get_mut(address))
                && Arc::ptr_eq(&wanted.balancer, &listener.context.balancer)
                && wanted.kind == listener.context.kind
            {
                operations += usize::from(listener.set_guard(Arc::clone(&wanted.guard)));
                continue;
            }
            closing.extend(self.open.remove(address));
            match wanted {
                Some(wanted) => opening.push((*address, wanted)),
                None => drop(self.failed.remove(address)),
            }
        }
        operations += closing.len();
        self.close(closing).await;
        operations += self.open_all(opening);
        for address in touched {
            self.update_reject(address);
        }
        let unserved = &self.relay.limits.counters.unserved;
        unserved.add(self.failed.len());
        unserved.subtract(failed_before);
        operations
    }

    /// How a listen address should be served; `None` where nothing should listen.
    fn wanted(&self, address: ListenAddress) -> Option<Wanted> {
        let (kind, balancer) = self.owners.get(address)?;
        let guard = balancer.state().guard(kind)?;
        Some(Wanted { kind, balancer: Arc::clone(balancer), guard })
    }

    /// Closes listeners. Their TCP connections continue, and keep what captures their address.
    async fn close(&mut self, closing: Vec<Listener>) {
        let contexts: Vec<_> = closing
            .iter()
            .map(|listener| {
                let context = &listener.context;
                self.node.update(|node| _ = node.listening.remove(&context.address));
                let captures = self.captures.as_ref();
                let object = captures.and_then(|captures| captures.object(context.address, context.kind));
                (object, Arc::downgrade(context))
            })
            .collect();
        Listener::close_all(closing).await;
        for (object, context) in contexts {
            let Some(object) = object else { continue };
            if context.strong_count() > 0 {
                self.draining.entry(object).or_default().push(context);
                self.unfinished.notify_one();
            } else if let Some(captures) = &mut self.captures {
                captures.release(object);
            }
        }
    }

    /// Opens listeners, and returns how many were opened. Logs those that fail, once, and those that failed before.
    fn open_all(&mut self, opening: Vec<(ListenAddress, Wanted)>) -> usize {
        let (mut opened, mut unserved) = (0, Vec::new());
        for (address, wanted) in opening {
            let service_port = wanted.balancer.name.clone();
            match self.open(address, wanted) {
                Ok(listener) => {
                    opened += 1;
                    self.node.update(|node| _ = node.listening.insert(address));
                    self.open.insert(address, listener);
                    if self.failed.remove(&address) {
                        info!(servicePort = %service_port, %address, "Listening after earlier failures");
                    }
                }
                Err(error) => {
                    if self.failed.insert(address) {
                        unserved.push(Unserved { service_port, address, error });
                    }
                }
            }
        }
        if !unserved.is_empty() {
            self.unfinished.notify_one();
            // To find the owner of a port takes a while, and applying the plan must not wait for it.
            self.relay.handle.spawn_blocking(move || unserved::log(&unserved));
        }
        opened
    }

    fn open(&mut self, address: ListenAddress, wanted: Wanted) -> Result<Listener, ListenError> {
        let Wanted { kind, balancer, guard } = wanted;
        let captures = self.captures.as_ref();
        let object = captures.and_then(|captures| captures.object(address, kind)).zip(captures);
        let is_local = kind == AddressKind::NodePort
            || object.is_some_and(|(object, captures)| captures.has(object))
            || self.node.is_local(address.socket.ip());
        if !is_local {
            return Err(if object.is_some_and(|(object, captures)| captures.lacks_rule(object)) {
                ListenError::TooManyPorts
            } else if self.is_other_hosts(address, kind) {
                ListenError::OtherHost
            } else {
                ListenError::NotLocal
            });
        }
        let object = object.map(|(object, _)| object);
        let permit = self.relay.limits.admit(Kind::Listener, &balancer.name.service);
        let permit = permit.map_err(|full| ListenError::Full(full.limit))?;
        let (node, relay) = (Arc::clone(&self.node), Arc::clone(&self.relay));
        let service = balancer.name.service.clone();
        let listener =
            Listener::open(ListenerContext { address, kind, balancer, node, relay }, guard, permit)?;
        // Besides the service port the listener wants its address captured, until its last connection has ended.
        if let Some((object, captures)) = object.zip(self.captures.as_mut()) {
            captures.want(object, &service);
        }
        Ok(listener)
    }

    /// Has the kernel reject packets to a captured port at which nothing listens and no connection drains.
    fn update_reject(&mut self, address: ListenAddress) {
        let Some(captures) = self.captures.as_mut().filter(|captures| captures.by_port) else {
            return;
        };
        let is_used = self.open.contains_key(&address) || self.draining.contains_key(&Object::Port(address));
        let owner = self.owners.get(address).filter(|(kind, _)| kind.is_external() && !is_used);
        captures.set_rejected(address, owner.map(|(_, balancer)| &balancer.name.service));
    }

    /// Brings routes and rules up to date with the sockets.
    fn update_captures(&mut self, report: &mut ApplyReport) -> Result<(), NetlinkError> {
        if let Some(captures) = &mut self.captures {
            captures.add(report)?;
            captures.remove(report)?;
        }
        Ok(())
    }

    /// Releases what captured the addresses of closed listeners whose last connection has ended.
    pub(crate) fn release_drained(&mut self) -> Result<(), NetlinkError> {
        let mut released = Vec::new();
        self.draining.retain(|object, contexts| {
            let before = contexts.len();
            contexts.retain(|context| context.strong_count() > 0);
            released.extend(std::iter::repeat_n(*object, before - contexts.len()));
            !contexts.is_empty()
        });
        for object in &released {
            if let Some(captures) = &mut self.captures {
                captures.release(*object);
            }
            if let Object::Port(address) = object {
                self.update_reject(*address);
            }
        }
        if released.is_empty() { Ok(()) } else { self.update_captures(&mut ApplyReport::default()) }
    }
}

impl Drop for Listeners {
    /// The next backend of this IP family logs them again.
    fn drop(&mut self) {
        self.forget_unsupported();
    }
}

#[cfg(test)]
mod tests;

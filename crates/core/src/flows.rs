//! Which UDP flows of connection tracking contradict a plan.
//!
//! Connection tracking selects the destination of a flow at its first packet, and keeps it as long as packets follow. A
//! TCP client notices when its endpoint is gone, because the connection ends. A UDP client that keeps its source port
//! would keep sending to the removed endpoint. So after each change the flows that would now be sent elsewhere must be
//! removed:
//!
//! * flows to an endpoint that no longer serves, or serves on another port;
//! * flows to an address of a Service that were never translated, because they began before it had endpoints;
//! * flows to an address that a Service had until this change.
//!
//! A flow to an endpoint that still serves stays, even if new flows go to other endpoints.
//!
//! Flows of unknown Services stay, whatever their destination. A Service may belong to another proxy (label
//! `service.kubernetes.io/service-proxy-name`), and its cluster IP is in the ServiceCIDRs like any other. Flows of a
//! Service that was deleted while no proxy ran look the same, so they stay until their clients stop sending.
//!
//! A plan does not have the node's addresses. So for a flow to the number of a node port this module only decides
//! whether it is stale if its destination is this node ([`FlowCheck::is_by_node_port`]).
//!
//! Plans change while a search through connection tracking is running. So each result is compared with the newest plan
//! before it is removed ([`StaleFlow::is_wanted`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::address::{IpFamily, Protocol};
use crate::changes::ChangeSet;
use crate::name::ServicePortName;
use crate::plan::{Endpoint, NodePlan, ServicePort};
use crate::state::State;
use crate::vip_owners::ServiceAddress;

/// One UDP flow of connection tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The source of the first packet.
    pub source: SocketAddr,
    /// The destination of the first packet, before any translation.
    pub destination: SocketAddr,
    /// The source of replies: the destination, or what it was translated to.
    pub reply_source: SocketAddr,
    /// The destination of replies: the source, or what it was translated to.
    pub reply_destination: SocketAddr,
}

/// The addresses whose flows must be checked, and the endpoints that flows to them may have.
#[derive(Debug, Clone, Default)]
pub struct FlowCheck {
    addresses: HashMap<ServiceAddress, Checked>,
}

/// An address whose flows must be checked.
#[derive(Debug, Clone)]
struct Checked {
    /// The service port that owns it, if any does.
    owner: Option<Arc<ServicePort>>,
    /// For a node port the service ports that owned it before, as they were then; unknown after a full sync.
    before: Option<Vec<Arc<ServicePort>>>,
}

impl FlowCheck {
    /// What to check after `plan` was programmed, which differs by `changes` from the previous plan.
    ///
    /// The cost depends on the changes. Nothing is checked unless a UDP address lost an endpoint or got its first one.
    /// If the previous state of the kernel is unknown, all addresses of `plan` are checked.
    pub fn after(plan: &NodePlan, changes: &ChangeSet) -> Self {
        let mut check = Self::default();
        let is_udp = |name: &ServicePortName| name.protocol == Protocol::Udp;
        let pairs = || {
            let udp = changes.service_ports().filter(|(name, _)| is_udp(name));
            udp.map(|(name, old)| (old, plan.service_ports.get(name)))
        };
        for (old, new) in pairs() {
            if needs_check(old.map(AsRef::as_ref), new.map(AsRef::as_ref)) {
                new.into_iter().flat_map(|new| addresses(new)).for_each(|address| check.add(address, None));
                old.into_iter().flat_map(|old| addresses(old)).for_each(|address| check.add(address, old));
            }
        }
        if !check.is_empty() {
            // An address may have passed to a service port that needs no check itself.
            for new in pairs().filter_map(|(_, new)| new) {
                for address in addresses(new) {
                    if let Some(checked) = check.addresses.get_mut(&address) {
                        checked.owner = Some(Arc::clone(new));
                    }
                }
            }
        }
        if changes.is_complete() {
            for (_, port) in plan.service_ports.iter().filter(|(name, _)| is_udp(name)) {
                let all = addresses(port);
                let checked = || Checked { owner: Some(Arc::clone(port)), before: None };
                check.addresses.extend(all.map(|address| (address, checked())));
            }
        }
        check
    }

    /// Adds what a `later` check covers.
    ///
    /// The owners of the addresses may then be outdated: see [`renew`](Self::renew).
    pub fn merge(&mut self, later: Self) {
        for (address, later) in later.addresses {
            match self.addresses.entry(address) {
                Entry::Occupied(mut known) => known.get_mut().merge(later),
                Entry::Vacant(entry) => {
                    entry.insert(later);
                }
            }
        }
    }

    /// Makes the check compare flows with the plan of `state`.
    pub fn renew(&mut self, state: &State, family: IpFamily) {
        for (address, checked) in &mut self.addresses {
            checked.owner = state.owner(family, address).cloned();
        }
    }

    /// Treats translated flows to node ports as ours whatever their endpoint, as after a full sync. The size of the
    /// check then depends on the number of addresses only.
    pub fn forget_endpoints(&mut self) {
        for checked in self.addresses.values_mut() {
            checked.before = None;
        }
    }

    /// Adds an address, which `owner` has lost or had before.
    fn add(&mut self, address: ServiceAddress, owner: Option<&Arc<ServicePort>>) {
        let is_node_port = matches!(address, ServiceAddress::NodePort(..));
        let new = || Checked { owner: None, before: is_node_port.then(Vec::new) };
        if let Some(before) = &mut self.addresses.entry(address).or_insert_with(new).before {
            before.extend(owner.cloned());
        }
    }

    /// Whether no flow can be stale.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The destinations of flows to check.
    pub fn destinations(&self) -> impl Iterator<Item = Destination> {
        self.addresses.keys().map(|address| match *address {
            ServiceAddress::Vip(ip, _, port) => Destination { ip: Some(ip), port },
            ServiceAddress::NodePort(_, port) => Destination { ip: None, port },
        })
    }

    /// Whether a new flow like this one would be sent elsewhere.
    ///
    /// If [`is_by_node_port`](Self::is_by_node_port), that is true only if the destination is this node.
    pub fn is_stale(&self, flow: &Flow) -> bool {
        if let Some(vip) = self.addresses.get(&vip(flow.destination)) {
            return !keeps(vip.owner.as_ref(), flow);
        }
        if let Some(node_port) = self.addresses.get(&node_port(flow.destination)) {
            // The destination may belong to any host, or to another proxy. A flow without translation can be removed
            // without harm; a flow that another program translates must stay.
            let is_translated = flow.reply_source != flow.destination;
            let is_untouched = !is_translated && flow.reply_destination == flow.source;
            let is_ours = is_translated && node_port.had(flow);
            return (is_untouched || is_ours) && !keeps(node_port.owner.as_ref(), flow);
        }
        false
    }

    /// Whether a flow is checked only because of its destination port, so that it is ours only if its destination
    /// address is one of this node's. Flows to other hosts, and to cluster IPs of another proxy, can have any port.
    pub fn is_by_node_port(&self, flow: &Flow) -> bool {
        !self.addresses.contains_key(&vip(flow.destination))
            && self.addresses.contains_key(&node_port(flow.destination))
    }
}

impl Checked {
    /// Whether the endpoint of the flow was one of the address before.
    fn had(&self, flow: &Flow) -> bool {
        self.before.as_ref().is_none_or(|before| before.iter().any(|port| keeps(Some(port), flow)))
    }

    fn merge(&mut self, later: Self) {
        self.owner = later.owner;
        self.before = self.before.take().zip(later.before).map(|(mut before, later)| {
            before.extend(later);
            before
        });
    }
}

/// A destination of flows to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The address; `None` for a node port, which can have any.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A flow that a check found stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleFlow {
    /// The flow.
    pub flow: Flow,
    /// Whether it was checked only because of its destination port, and its destination is this node.
    pub is_by_node_port: bool,
    /// The cleaner's identifier of the flow. Must differ from that of a later flow between the same addresses.
    pub handle: Box<[u8]>,
}

impl StaleFlow {
    /// Whether the flow agrees with the plan of `state`, although it contradicts an earlier one.
    ///
    /// The cost does not depend on the size of the plan.
    pub fn is_wanted(&self, state: &State, family: IpFamily) -> bool {
        let destination = self.flow.destination;
        let by_node_port = || state.owner(family, &node_port(destination)).filter(|_| self.is_by_node_port);
        keeps(state.owner(family, &vip(destination)).or_else(by_node_port), &self.flow)
    }
}

/// Removes flows from connection tracking.
pub trait FlowCleaner: Send {
    /// Finds all UDP flows of `family` that are stale according to `check`.
    ///
    /// May take as long as a dump of all tracked flows.
    ///
    /// # Errors
    /// Some may not have been found. The call can be repeated.
    fn find_stale(&mut self, family: IpFamily, check: &FlowCheck) -> Result<Vec<StaleFlow>, FlowError>;

    /// Removes flows that this cleaner found, and returns how many of them still existed.
    ///
    /// Called on the thread that applies plans, for a few flows at a time: it should take no longer than the kernel
    /// needs to remove them.
    ///
    /// # Errors
    /// Some may be left. They can be found and removed again.
    fn remove(&mut self, family: IpFamily, flows: &[StaleFlow]) -> Result<usize, FlowError>;

    /// Finds and removes all stale flows, for a plan that does not change meanwhile.
    ///
    /// # Errors
    /// Some may be left. The call can be repeated.
    fn remove_stale(&mut self, family: IpFamily, check: &FlowCheck) -> Result<usize, FlowError> {
        let found = self.find_stale(family, check)?;
        self.remove(family, &found)
    }
}

/// Stale flows could not be found or removed.
#[derive(Debug, thiserror::Error)]
#[error("could not {action}")]
pub struct FlowError {
    /// The failed action.
    pub action: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Whether a change from `old` to `new` can make flows stale.
fn needs_check(old: Option<&ServicePort>, new: Option<&ServicePort>) -> bool {
    let is_kept = |endpoint| new.is_some_and(|new| has_endpoint(new, endpoint));
    let lost_endpoint = || old.is_some_and(|old| endpoints(old).any(|endpoint| !is_kept(endpoint)));
    // Any address can have flows, even one whose new flows would have had no endpoint.
    let had_flows = |old: &ServicePort| endpoints(old).next().is_some();
    let is_lost = |address| !new.is_some_and(|new| has_address(new, address));
    let lost_address = || old.is_some_and(|old| had_flows(old) && addresses(old).any(is_lost));
    let was_served = |address| old.is_some_and(|old| has_address(old, address) && is_served(old, address));
    let is_first = |new: &ServicePort, address| is_served(new, address) && !was_served(address);
    let first_endpoint = || new.is_some_and(|new| addresses(new).any(|address| is_first(new, address)));
    lost_endpoint() || lost_address() || first_endpoint()
}

/// Whether new flows to `address`, which is one of `port`, have an endpoint.
fn is_served(port: &ServicePort, address: ServiceAddress) -> bool {
    let is_cluster_ip = matches!(address, ServiceAddress::Vip(ip, ..) if port.cluster_ip == Some(ip));
    if is_cluster_ip { !port.internal_endpoints().is_empty() } else { !port.cluster_endpoints.is_empty() }
}

fn addresses(port: &ServicePort) -> impl Iterator<Item = ServiceAddress> {
    let vips = port.cluster_ip.into_iter().chain(port.external_addresses());
    let number = port.port;
    let vips = vips.map(move |ip| ServiceAddress::Vip(ip, Protocol::Udp, number));
    vips.chain(port.node_port.map(|number| ServiceAddress::NodePort(Protocol::Udp, number)))
}

/// The same as a search through [`addresses`], in logarithmic time.
fn has_address(port: &ServicePort, address: ServiceAddress) -> bool {
    let is_external = |ip| {
        port.load_balancer_ips.binary_search(&ip).is_ok() || port.external_ips.binary_search(&ip).is_ok()
    };
    match address {
        ServiceAddress::Vip(ip, _, number) => {
            number == port.port && (port.cluster_ip == Some(ip) || is_external(ip))
        }
        ServiceAddress::NodePort(_, number) => port.node_port == Some(number),
    }
}

/// All endpoints that can have flows: those that receive new ones, and those that keep the ones they have.
fn endpoints(port: &ServicePort) -> impl Iterator<Item = SocketAddr> {
    let chosen = port.cluster_endpoints.iter().chain(port.local_endpoints.iter());
    chosen.map(Endpoint::socket_address).chain(port.draining_endpoints.iter().copied())
}

/// The same as a search through [`endpoints`], in logarithmic time.
fn has_endpoint(port: &ServicePort, wanted: SocketAddr) -> bool {
    let is_in = |list: &[Endpoint]| list.binary_search_by_key(&wanted, Endpoint::socket_address).is_ok();
    is_in(&port.cluster_endpoints)
        || is_in(&port.local_endpoints)
        || port.draining_endpoints.binary_search(&wanted).is_ok()
}

fn keeps(owner: Option<&Arc<ServicePort>>, flow: &Flow) -> bool {
    owner.is_some_and(|port| has_endpoint(port, flow.reply_source))
}

fn vip(address: SocketAddr) -> ServiceAddress {
    ServiceAddress::Vip(address.ip(), Protocol::Udp, address.port())
}

fn node_port(address: SocketAddr) -> ServiceAddress {
    ServiceAddress::NodePort(Protocol::Udp, address.port())
}

#[cfg(test)]
mod tests;

//! Which remembered UDP flows contradict a plan.
//!
//! Connection tracking decides where a flow goes when its first packet comes, and holds on to
//! that for as long as packets keep coming. A TCP client learns from its connection's end that
//! its endpoint is gone; a UDP client that keeps its source port goes on sending to nobody. So
//! after each change the flows that a new one would not repeat must be forgotten:
//!
//! * those to an endpoint that no longer serves, or serves on another port;
//! * those to an address of ours that were never translated, because they began before there
//!   was anything to translate them to;
//! * those to an address that a Service of ours had until this change.
//!
//! A flow to an endpoint that still answers is left alone, even where new ones go elsewhere.
//!
//! Flows of Services that we do not know are not ours to judge, wherever they were sent. A Service
//! may be another proxy's on purpose (label `service.kubernetes.io/service-proxy-name`), and then
//! its cluster IP lies in the ServiceCIDRs like any other. So the flows of a Service that was
//! deleted while no proxy ran, which look the same, stay until their clients fall silent.
//!
//! A plan does not know the node's addresses, so of a flow to a node port's number this module says
//! only that it would be stale if it were sent to this node ([`FlowCheck::is_by_node_port`]).
//!
//! Plans change while a search through connection tracking goes on. What it finds is therefore judged
//! once more, by the newest plan, before it is removed ([`StaleFlow::is_wanted`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::address::{IpFamily, Protocol};
use crate::changes::ChangeSet;
use crate::claims::Frontend;
use crate::name::ServicePortName;
use crate::plan::{Endpoint, NodePlan, ServicePort};
use crate::state::State;

/// One UDP flow as connection tracking remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Who sent the first packet.
    pub source: SocketAddr,
    /// Whom it was sent to, before any translation.
    pub destination: SocketAddr,
    /// Who answers: the destination, or what it was translated to.
    pub reply_source: SocketAddr,
    /// Whom the answer is for: the source, or what it was translated to.
    pub reply_destination: SocketAddr,
}

/// The addresses whose flows must be looked at, and what a flow to them may look like.
#[derive(Debug, Clone, Default)]
pub struct FlowCheck {
    /// Each with the service port that owns it, if any does.
    vips: HashMap<SocketAddr, Option<Arc<ServicePort>>>,
    node_ports: HashMap<u16, NodePort>,
}

/// A node port in question.
#[derive(Debug, Clone)]
struct NodePort {
    /// The service port that owns it, if any does.
    owner: Option<Arc<ServicePort>>,
    /// The service ports that owned it before, as they were then; unknown when everything is compared.
    before: Option<Vec<Arc<ServicePort>>>,
}

impl FlowCheck {
    /// What to check after `plan` came into force, which differs by `changes` from the one before.
    ///
    /// Costs what changed; nothing to check when no UDP frontend lost an endpoint or got its first.
    /// Everything that `plan` serves is checked when nothing is known of what the kernel held before.
    pub fn after(plan: &NodePlan, changes: &ChangeSet) -> Self {
        let mut check = Self::default();
        let is_udp = |name: &ServicePortName| name.protocol == Protocol::Udp;
        let pairs = || {
            let udp = changes.service_ports().filter(|(name, _)| is_udp(name));
            udp.map(|(name, old)| (old, plan.service_ports.get(name)))
        };
        for (old, new) in pairs() {
            if needs_check(old.map(AsRef::as_ref), new.map(AsRef::as_ref)) {
                new.into_iter().flat_map(|new| frontends(new)).for_each(|frontend| check.ask(frontend, None));
                old.into_iter().flat_map(|old| frontends(old)).for_each(|frontend| check.ask(frontend, old));
            }
        }
        if !check.is_empty() {
            // An address may have passed to a service port that itself calls for no check.
            pairs().filter_map(|(_, new)| new).for_each(|new| check.own(new));
        }
        if changes.is_complete() {
            for (_, port) in plan.service_ports.iter().filter(|(name, _)| is_udp(name)) {
                check.ask_for_all(port);
            }
        }
        check
    }

    /// Also looks for what a `later` check looks for.
    ///
    /// What neither of them serves any more may still count as served: see [`renew`](Self::renew).
    pub fn merge(&mut self, later: Self) {
        self.vips.extend(later.vips);
        for (number, later) in later.node_ports {
            match self.node_ports.entry(number) {
                Entry::Occupied(mut known) => known.get_mut().merge(later),
                Entry::Vacant(entry) => {
                    entry.insert(later);
                }
            }
        }
    }

    /// Judges flows by the plan of `state` from now on, whichever came before.
    pub fn renew(&mut self, state: &State, family: IpFamily) {
        for (vip, owner) in &mut self.vips {
            *owner = state.owner(family, &udp_vip(*vip)).cloned();
        }
        for (number, node_port) in &mut self.node_ports {
            node_port.owner = state.owner(family, &Frontend::NodePort(Protocol::Udp, *number)).cloned();
        }
    }

    /// Takes translated flows to node ports for ours wherever they lead, as a check of everything does. What
    /// is kept of a check then grows with its addresses alone.
    pub fn forget_endpoints(&mut self) {
        for node_port in self.node_ports.values_mut() {
            node_port.before = None;
        }
    }

    /// Looks at the flows to `frontend`, which `owner` has lost, or had already.
    fn ask(&mut self, frontend: Frontend, owner: Option<&Arc<ServicePort>>) {
        match frontend {
            Frontend::Vip(ip, _, port) => {
                self.vips.entry(SocketAddr::new(ip, port)).or_default();
            }
            Frontend::NodePort(_, number) => {
                let new = || NodePort { owner: None, before: Some(Vec::new()) };
                if let Some(before) = &mut self.node_ports.entry(number).or_insert_with(new).before {
                    before.extend(owner.cloned());
                }
            }
        }
    }

    /// Looks at all flows to what `owner` has, whoever had it before.
    fn ask_for_all(&mut self, owner: &Arc<ServicePort>) {
        for frontend in frontends(owner) {
            let owner = Some(Arc::clone(owner));
            match frontend {
                Frontend::Vip(ip, _, port) => _ = self.vips.insert(SocketAddr::new(ip, port), owner),
                Frontend::NodePort(_, number) => {
                    self.node_ports.insert(number, NodePort { owner, before: None });
                }
            }
        }
    }

    /// Lets flows to addresses that are checked lead to the endpoints of `port` if it has these addresses.
    fn own(&mut self, port: &Arc<ServicePort>) {
        for frontend in frontends(port) {
            let owner = match frontend {
                Frontend::Vip(ip, _, port) => self.vips.get_mut(&SocketAddr::new(ip, port)),
                Frontend::NodePort(_, port) => self.node_ports.get_mut(&port).map(|known| &mut known.owner),
            };
            if let Some(owner) = owner {
                *owner = Some(Arc::clone(port));
            }
        }
    }

    /// Whether no flow can be stale.
    pub fn is_empty(&self) -> bool {
        self.vips.is_empty() && self.node_ports.is_empty()
    }

    /// The addresses and ports whose flows are in question.
    pub fn destinations(&self) -> impl Iterator<Item = Destination> {
        let vips = self.vips.keys().map(|vip| Destination { ip: Some(vip.ip()), port: vip.port() });
        let node_ports = self.node_ports.keys().map(|port| Destination { ip: None, port: *port });
        vips.chain(node_ports)
    }

    /// Whether a new flow like this one would go elsewhere.
    ///
    /// Where [`is_by_node_port`](Self::is_by_node_port), that holds only if the destination is this node.
    pub fn is_stale(&self, flow: &Flow) -> bool {
        if let Some(owner) = self.vips.get(&flow.destination) {
            return !keeps(owner.as_ref(), flow);
        }
        if let Some(node_port) = self.node_ports.get(&flow.destination.port()) {
            // The destination may be any host's, or another proxy's. What passes by untouched is
            // harmless to forget; what somebody else translates is not ours to judge.
            let is_translated = flow.reply_source != flow.destination;
            let is_untouched = !is_translated && flow.reply_destination == flow.source;
            let is_ours = is_translated && node_port.had(flow);
            return (is_untouched || is_ours) && !keeps(node_port.owner.as_ref(), flow);
        }
        false
    }

    /// Whether a flow is in question for its destination port alone, so that it is ours only if
    /// the destination address is one of this node's own. Flows to other hosts, and to cluster IPs
    /// that another proxy serves, pass with any port.
    pub fn is_by_node_port(&self, flow: &Flow) -> bool {
        !self.vips.contains_key(&flow.destination) && self.node_ports.contains_key(&flow.destination.port())
    }
}

impl NodePort {
    /// Whether the flow leads to where new ones once led.
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

/// What a flow in question was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The address; any for a node port.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A flow that a check found stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleFlow {
    /// The flow.
    pub flow: Flow,
    /// Whether it is in question for its destination port alone, and was sent to an address of this node.
    pub is_by_node_port: bool,
    /// What the cleaner that found it names it by. Must not name a flow that is begun anew between the same ends.
    pub handle: Box<[u8]>,
}

impl StaleFlow {
    /// Whether the plan of `state` would have the flow as it is, though an earlier one would not.
    ///
    /// Costs the same however much the plan serves.
    pub fn is_wanted(&self, state: &State, family: IpFamily) -> bool {
        let by_node_port = || {
            let number = self.flow.destination.port();
            let owner = state.owner(family, &Frontend::NodePort(Protocol::Udp, number));
            owner.filter(|_| self.is_by_node_port)
        };
        let owner = state.owner(family, &udp_vip(self.flow.destination)).or_else(by_node_port);
        keeps(owner, &self.flow)
    }
}

/// Forgets flows.
pub trait FlowCleaner: Send {
    /// Finds every UDP flow of `family` that is stale by `check`.
    ///
    /// May take as long as a walk through all tracked flows does.
    ///
    /// # Errors
    /// Some may not have been found. Asking again is safe.
    fn find_stale(&mut self, family: IpFamily, check: &FlowCheck) -> Result<Vec<StaleFlow>, FlowError>;

    /// Removes flows that this cleaner found, and returns how many of them were still there.
    ///
    /// Called where plans are applied, for a few flows at a time: it should take no longer than the kernel needs
    /// to remove them.
    ///
    /// # Errors
    /// Some may be left. Finding and removing again is safe.
    fn remove(&mut self, family: IpFamily, flows: &[StaleFlow]) -> Result<usize, FlowError>;

    /// Finds and removes all at once, for a plan that does not change meanwhile.
    ///
    /// # Errors
    /// Some may be left. Asking again is safe.
    fn remove_stale(&mut self, family: IpFamily, check: &FlowCheck) -> Result<usize, FlowError> {
        let found = self.find_stale(family, check)?;
        self.remove(family, &found)
    }
}

/// Stale flows could not be looked for, or removed.
#[derive(Debug, thiserror::Error)]
#[error("could not {action}")]
pub struct FlowError {
    /// What was tried.
    pub action: String,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Whether going from `old` to `new` leaves flows behind that should not be.
fn needs_check(old: Option<&ServicePort>, new: Option<&ServicePort>) -> bool {
    let is_kept = |endpoint| new.is_some_and(|new| has_endpoint(new, endpoint));
    let lost_endpoint = || old.is_some_and(|old| endpoints(old).any(|endpoint| !is_kept(endpoint)));
    // Flows may be on every address, even where no new ones would have had an endpoint.
    let had_flows = |old: &ServicePort| endpoints(old).next().is_some();
    let is_lost = |frontend| !new.is_some_and(|new| has_frontend(new, frontend));
    let lost_address = || old.is_some_and(|old| had_flows(old) && frontends(old).any(is_lost));
    let was_served =
        |frontend| old.is_some_and(|old| has_frontend(old, frontend) && is_served(old, frontend));
    let is_first = |new: &ServicePort, frontend| is_served(new, frontend) && !was_served(frontend);
    let first_endpoint = || new.is_some_and(|new| frontends(new).any(|frontend| is_first(new, frontend)));
    lost_endpoint() || lost_address() || first_endpoint()
}

/// Whether new flows to `frontend`, which is one of `port`, have an endpoint to go to.
fn is_served(port: &ServicePort, frontend: Frontend) -> bool {
    let is_cluster_ip = matches!(frontend, Frontend::Vip(ip, ..) if port.cluster_ip == Some(ip));
    if is_cluster_ip { !port.internal_endpoints().is_empty() } else { !port.cluster_endpoints.is_empty() }
}

fn frontends(port: &ServicePort) -> impl Iterator<Item = Frontend> {
    let vips = port.cluster_ip.into_iter().chain(port.external_addresses());
    let number = port.port;
    let vips = vips.map(move |ip| Frontend::Vip(ip, Protocol::Udp, number));
    vips.chain(port.node_port.map(|number| Frontend::NodePort(Protocol::Udp, number)))
}

/// The same as a search through [`frontends`], at the logarithm of its cost.
fn has_frontend(port: &ServicePort, frontend: Frontend) -> bool {
    let is_external = |ip| {
        port.load_balancer_ips.binary_search(&ip).is_ok() || port.external_ips.binary_search(&ip).is_ok()
    };
    match frontend {
        Frontend::Vip(ip, _, number) => {
            number == port.port && (port.cluster_ip == Some(ip) || is_external(ip))
        }
        Frontend::NodePort(_, number) => port.node_port == Some(number),
    }
}

/// All endpoints that may have flows: they receive new ones, or answer the ones they have.
fn endpoints(port: &ServicePort) -> impl Iterator<Item = SocketAddr> {
    let chosen = port.cluster_endpoints.iter().chain(port.local_endpoints.iter());
    chosen.map(Endpoint::socket_address).chain(port.lingering_endpoints.iter().copied())
}

/// The same as a search through [`endpoints`], at the logarithm of its cost.
fn has_endpoint(port: &ServicePort, wanted: SocketAddr) -> bool {
    let is_in = |list: &[Endpoint]| list.binary_search_by_key(&wanted, Endpoint::socket_address).is_ok();
    is_in(&port.cluster_endpoints)
        || is_in(&port.local_endpoints)
        || port.lingering_endpoints.binary_search(&wanted).is_ok()
}

fn keeps(owner: Option<&Arc<ServicePort>>, flow: &Flow) -> bool {
    owner.is_some_and(|port| has_endpoint(port, flow.reply_source))
}

fn udp_vip(address: SocketAddr) -> Frontend {
    Frontend::Vip(address.ip(), Protocol::Udp, address.port())
}

#[cfg(test)]
mod tests;

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

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::address::{IpFamily, Protocol};
use crate::changes::ChangeSet;
use crate::claims::Frontend;
use crate::name::ServicePortName;
use crate::plan::{Endpoint, NodePlan, ServicePort};

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
    vips: HashMap<SocketAddr, Wanted>,
    node_ports: HashMap<u16, Wanted>,
}

/// Where flows to one frontend may lead.
#[derive(Debug, Clone)]
struct Wanted {
    /// They may stay. Sorted.
    keep: Arc<[SocketAddr]>,
    /// The endpoints that it led to before; unknown when everything is compared. Sorted.
    before: Option<Arc<[SocketAddr]>>,
}

impl FlowCheck {
    /// What to check after `plan` came into force, which differs by `changes` from the one before.
    ///
    /// Costs what changed; nothing to check when no UDP frontend lost an endpoint or got its first.
    /// Everything that `plan` serves is checked when nothing is known of the plan before.
    pub fn after(plan: &NodePlan, changes: &ChangeSet) -> Self {
        let mut check = Self::default();
        let udp_ports = || changes.service_ports().filter(|(name, _)| name.protocol == Protocol::Udp);
        for (name, old) in udp_ports() {
            let wanted = plan.service_ports.get(name);
            if needs_check(old.map(AsRef::as_ref), wanted.map(AsRef::as_ref)) {
                let before = old.map_or_else(Arc::default, |old| keepers(old));
                check.lose(old.map(AsRef::as_ref), &before);
                check.want(wanted.map(AsRef::as_ref), Some(&before));
            }
        }
        // An address may have passed from one service port to another, whichever came first above.
        for (name, _) in udp_ports() {
            check.rewant(plan.service_ports.get(name).map(AsRef::as_ref));
        }
        if changes.is_complete() {
            check.want_all(plan);
        }
        check
    }

    /// Also looks for what an `earlier` check was to find and may have left, because it failed.
    ///
    /// What both are about is judged as this check says. What this one is not about counts as served by
    /// nobody, so that the later of the two must be the one that is added to.
    pub fn make_up_for(&mut self, earlier: Self) {
        for (vip, wanted) in earlier.vips {
            make_up(self.vips.entry(vip), wanted);
        }
        for (port, wanted) in earlier.node_ports {
            make_up(self.node_ports.entry(port), wanted);
        }
    }

    /// Looks at all flows to anything that `plan` serves.
    fn want_all(&mut self, plan: &NodePlan) {
        let is_udp = |name: &ServicePortName| name.protocol == Protocol::Udp;
        for (_, port) in plan.service_ports.iter().filter(|(name, _)| is_udp(name)) {
            self.want(Some(port), None);
        }
    }

    fn lose(&mut self, old: Option<&ServicePort>, before: &Arc<[SocketAddr]>) {
        for frontend in old.into_iter().flat_map(frontends) {
            self.put(frontend, Wanted { keep: Arc::default(), before: Some(Arc::clone(before)) });
        }
    }

    fn want(&mut self, wanted: Option<&ServicePort>, before: Option<&Arc<[SocketAddr]>>) {
        let Some(port) = wanted else { return };
        let keep = keepers(port);
        for frontend in frontends(port) {
            self.put(frontend, Wanted { keep: Arc::clone(&keep), before: before.cloned() });
        }
    }

    /// Lets flows to addresses that are checked lead to their present endpoints.
    fn rewant(&mut self, wanted: Option<&ServicePort>) {
        let Some(port) = wanted else { return };
        // Gathered only where it is asked for: most changes leave nothing to check.
        let mut keep = None;
        for frontend in frontends(port) {
            let known = match frontend {
                Frontend::Vip(ip, _, port) => self.vips.get_mut(&SocketAddr::new(ip, port)),
                Frontend::NodePort(_, port) => self.node_ports.get_mut(&port),
            };
            if let Some(known) = known {
                known.keep = Arc::clone(keep.get_or_insert_with(|| keepers(port)));
            }
        }
    }

    fn put(&mut self, frontend: Frontend, wanted: Wanted) {
        match frontend {
            Frontend::Vip(ip, _, port) => put(self.vips.entry(SocketAddr::new(ip, port)), wanted),
            Frontend::NodePort(_, port) => put(self.node_ports.entry(port), wanted),
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
        if let Some(wanted) = self.vips.get(&flow.destination) {
            return !wanted.keeps(flow);
        }
        if let Some(wanted) = self.node_ports.get(&flow.destination.port()) {
            // The destination may be any host's, or another proxy's. What passes by untouched is
            // harmless to forget; what somebody else translates is not ours to judge.
            let is_translated = flow.reply_source != flow.destination;
            let is_untouched = !is_translated && flow.reply_destination == flow.source;
            let is_ours = is_translated && wanted.had(flow);
            return (is_untouched || is_ours) && !wanted.keeps(flow);
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

impl Wanted {
    fn keeps(&self, flow: &Flow) -> bool {
        self.keep.binary_search(&flow.reply_source).is_ok()
    }

    fn had(&self, flow: &Flow) -> bool {
        self.before.as_ref().is_none_or(|before| before.binary_search(&flow.reply_source).is_ok())
    }

    /// Adds what another service port says of the same frontend: whoever held it first, flows to
    /// the endpoints of both may be there.
    fn add(&mut self, other: Self) {
        self.keep = other.keep;
        self.add_before(other.before);
    }

    fn add_before(&mut self, others: Option<Arc<[SocketAddr]>>) {
        let (Some(mine), Some(others)) = (&self.before, others) else {
            self.before = None;
            return;
        };
        if !Arc::ptr_eq(mine, &others) {
            self.before = Some(sorted(mine.iter().chain(others.iter()).copied().collect()));
        }
    }
}

fn put<K>(entry: Entry<'_, K, Wanted>, wanted: Wanted) {
    match entry {
        Entry::Occupied(mut known) => known.get_mut().add(wanted),
        Entry::Vacant(room) => {
            room.insert(wanted);
        }
    }
}

fn make_up<K>(entry: Entry<'_, K, Wanted>, earlier: Wanted) {
    match entry {
        Entry::Occupied(mut known) => known.get_mut().add_before(earlier.before),
        Entry::Vacant(room) => {
            room.insert(Wanted { keep: Arc::default(), ..earlier });
        }
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

/// Forgets flows.
pub trait FlowCleaner: Send {
    /// Removes every UDP flow of `family` that is stale by `check`, and returns how many there were.
    ///
    /// # Errors
    /// Some may be left. Asking again is safe.
    fn remove_stale(&mut self, family: IpFamily, check: &FlowCheck) -> Result<usize, FlowError>;
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
    let served = |port: Option<&ServicePort>| -> Vec<Frontend> {
        port.into_iter().flat_map(|port| frontends(port).filter(|f| is_served(port, *f))).collect()
    };
    let (before, now) = (served(old), served(new));
    let lost_address = before.iter().any(|frontend| !now.contains(frontend)) || leaves_lingering(old, new);
    let first_endpoint = now.iter().any(|frontend| !before.contains(frontend));
    let lost_endpoint = || {
        let kept = new.map_or_else(Arc::default, keepers);
        old.is_some_and(|old| keepers(old).iter().any(|endpoint| kept.binary_search(endpoint).is_err()))
    };
    lost_address || first_endpoint || lost_endpoint()
}

/// Whether an address goes that nobody new was led from, but where endpoints still answered old flows.
fn leaves_lingering(old: Option<&ServicePort>, new: Option<&ServicePort>) -> bool {
    let Some(old) = old.filter(|old| !old.lingering_endpoints.is_empty()) else { return false };
    let stays = |frontend: &Frontend| new.is_some_and(|new| frontends(new).any(|other| other == *frontend));
    frontends(old).any(|frontend| !stays(&frontend))
}

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

/// All endpoints that may have flows: they receive new ones, or answer the ones they have.
fn keepers(port: &ServicePort) -> Arc<[SocketAddr]> {
    let chosen = port.cluster_endpoints.iter().chain(port.local_endpoints.iter());
    let mut all: Vec<SocketAddr> = chosen.map(Endpoint::socket_address).collect();
    all.extend(&port.lingering_endpoints);
    sorted(all)
}

fn sorted(mut endpoints: Vec<SocketAddr>) -> Arc<[SocketAddr]> {
    endpoints.sort_unstable();
    endpoints.dedup();
    endpoints.into()
}

#[cfg(test)]
mod tests;

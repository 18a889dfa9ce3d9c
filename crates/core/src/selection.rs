//! Which of a service port's endpoints may receive connections.
//!
//! Two lists, each with its own fall-back to endpoints that serve while they terminate
//! (KEP-1669): one for the Cluster policy, narrowed by the control plane's hints
//! (KEP-2433, KEP-3015), one for the Local policy, which hints do not touch.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::address::Protocol;
use crate::event::{EndpointSlice, Hints, SliceEndpoint};
use crate::name::Name;
use crate::plan::{Endpoint, Locality, Unserved};

/// An endpoint with the port that one service port reaches it on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    /// The port on the endpoint.
    pub(crate) port: u16,
    /// The rest of what its slice says.
    pub(crate) endpoint: &'a SliceEndpoint,
}

/// Where this node is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here<'a> {
    /// Its name.
    pub(crate) node: &'a Name,
    /// Its zone, when known.
    pub(crate) zone: Option<&'a Name>,
}

/// The lists that a service port has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lists {
    /// That of the Cluster policy.
    pub(crate) cluster: bool,
    /// That of the Local policy.
    pub(crate) local: bool,
}

/// Whom a service port leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Under the Cluster policy, sorted.
    pub(crate) cluster: Arc<[Endpoint]>,
    /// Under the Local policy, sorted.
    pub(crate) local: Arc<[Endpoint]>,
    /// What becomes of connections whose list is empty.
    pub(crate) unserved: Unserved,
}

/// Chooses from `candidates`, which are sorted and distinct.
pub(crate) fn select(candidates: &[Candidate<'_>], here: Here<'_>, lists: Lists) -> Selection {
    let is_usable = |candidate: &Candidate<'_>| candidate.is_ready() || candidate.is_last_resort();
    let unserved = if candidates.iter().any(is_usable) { Unserved::Drop } else { Unserved::Reject };
    Selection {
        cluster: if lists.cluster { cluster(candidates, here) } else { Arc::default() },
        local: if lists.local { local(candidates, here) } else { Arc::default() },
        unserved,
    }
}

fn cluster(candidates: &[Candidate<'_>], here: Here<'_>) -> Arc<[Endpoint]> {
    let nearness = Nearness::of(candidates, here);
    let ready = collect(candidates, here, |c| c.is_ready() && nearness.admits(c.endpoint, here));
    if !ready.is_empty() {
        return ready;
    }
    collect(candidates, here, Candidate::is_last_resort)
}

fn local(candidates: &[Candidate<'_>], here: Here<'_>) -> Arc<[Endpoint]> {
    let ready = collect(candidates, here, |c| c.is_local(here) && c.is_ready());
    if !ready.is_empty() {
        return ready;
    }
    collect(candidates, here, |c| c.is_local(here) && c.is_last_resort())
}

fn collect<'a>(
    candidates: &[Candidate<'a>],
    here: Here<'_>,
    is_chosen: impl Fn(&Candidate<'a>) -> bool,
) -> Arc<[Endpoint]> {
    candidates.iter().filter(|c| is_chosen(c)).map(|candidate| candidate.at(here)).collect()
}

/// The endpoints outside `selection` that still answer: flows that they have may end in peace.
pub(crate) fn lingering(
    candidates: &[Candidate<'_>],
    here: Here<'_>,
    selection: &Selection,
) -> Box<[SocketAddr]> {
    let is_chosen = |endpoint: &Endpoint| {
        [&selection.cluster, &selection.local].iter().any(|list| list.binary_search(endpoint).is_ok())
    };
    candidates
        .iter()
        .filter(|candidate| candidate.is_ready() || candidate.endpoint.conditions.serving)
        .map(|candidate| candidate.at(here))
        .filter(|endpoint| !is_chosen(endpoint))
        .map(|endpoint| endpoint.socket_address())
        .collect()
}

/// How many distinct addresses of ready endpoints on this node there are among `slices`,
/// whatever port they serve: what a load balancer's health check is told.
///
/// Merged as for traffic, so that the two agree where slices do not.
pub(crate) fn count_ready_here(slices: &[&EndpointSlice], here: Here<'_>) -> usize {
    let mut ports: Vec<(&Name, Protocol)> =
        slices.iter().flat_map(|slice| &slice.ports).map(|port| (&port.name, port.protocol)).collect();
    ports.sort_unstable();
    ports.dedup();
    let mut addresses: Vec<IpAddr> = ports
        .into_iter()
        .flat_map(|(name, protocol)| merge(slices, name, protocol))
        .filter(|candidate| candidate.is_ready() && candidate.is_local(here))
        .map(|candidate| candidate.endpoint.address)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.len()
}

impl Candidate<'_> {
    fn is_ready(&self) -> bool {
        self.endpoint.conditions.ready
    }

    /// Still serves though its pod is being deleted; used where nothing is ready.
    fn is_last_resort(&self) -> bool {
        self.endpoint.conditions.serving && self.endpoint.conditions.terminating
    }

    fn is_local(&self, here: Here<'_>) -> bool {
        self.locality(here) == Locality::Local
    }

    fn locality(&self, here: Here<'_>) -> Locality {
        match &self.endpoint.node {
            None => Locality::Unknown,
            Some(node) if node == here.node => Locality::Local,
            Some(_) => Locality::Remote,
        }
    }

    fn at(&self, here: Here<'_>) -> Endpoint {
        Endpoint { address: self.endpoint.address, port: self.port, locality: self.locality(here) }
    }
}

/// How far the hints let connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nearness {
    SameNode,
    SameZone,
    Anywhere,
}

impl Nearness {
    /// The nearest that works: every ready endpoint has such a hint, so that the control plane
    /// meant all nodes to follow them, and at least one is meant for us.
    fn of(candidates: &[Candidate<'_>], here: Here<'_>) -> Self {
        let ready = || candidates.iter().filter(|candidate| candidate.is_ready()).map(|c| c.endpoint);
        let all = |has: fn(&Hints) -> bool| ready().all(|e| e.hints.as_deref().is_some_and(has));
        let any = |nearness: Self| ready().any(|endpoint| nearness.admits(endpoint, here));
        if any(Self::SameNode) && all(|hints| !hints.nodes.is_empty()) {
            return Self::SameNode;
        }
        if any(Self::SameZone) && all(|hints| !hints.zones.is_empty()) {
            return Self::SameZone;
        }
        Self::Anywhere
    }

    fn admits(self, endpoint: &SliceEndpoint, here: Here<'_>) -> bool {
        let hints = endpoint.hints.as_deref();
        match self {
            Self::SameNode => hints.is_some_and(|hints| hints.nodes.contains(here.node)),
            Self::SameZone => {
                hints.is_some_and(|hints| here.zone.is_some_and(|zone| hints.zones.contains(zone)))
            }
            Self::Anywhere => true,
        }
    }
}

/// All endpoints that the slices of one Service give for one of its ports, sorted
/// by address and port, each once.
///
/// Where slices disagree about an endpoint, the later one is believed, unless it
/// says that the endpoint is terminating: a pod that was replaced and got the same
/// address is the running one. `slices` come sorted by name, so that "later" does
/// not depend on the order of events.
pub(crate) fn merge<'a>(
    slices: &[&'a EndpointSlice],
    port_name: &Name,
    protocol: Protocol,
) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'a>> = slices
        .iter()
        .flat_map(|slice| {
            slice.ports.iter().filter(|port| port.name == *port_name && port.protocol == protocol).flat_map(
                |port| slice.endpoints.iter().map(|endpoint| Candidate { port: port.port, endpoint }),
            )
        })
        .collect();
    // Stable, so that equal addresses stay in the order of their slices.
    candidates.sort_by_key(|candidate| (candidate.endpoint.address, candidate.port));
    candidates.dedup_by(|later, kept| {
        let same = (later.endpoint.address, later.port) == (kept.endpoint.address, kept.port);
        if same && !later.endpoint.conditions.terminating {
            *kept = *later;
        }
        same
    });
    candidates
}

//! Which endpoints of a service port may receive connections.
//!
//! There are two lists, each of which falls back to endpoints that serve while they terminate (KEP-1669): one for the
//! Cluster policy, narrowed by topology hints (KEP-2433, KEP-3015), and one for the Local policy, without hints.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::address::Protocol;
use crate::event::{Conditions, EndpointSlice, Hints, SliceEndpoint};
use crate::name::Name;
use crate::plan::{Endpoint, Locality, Unserved};

/// An endpoint of one service port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    /// The target port.
    pub(crate) port: u16,
    /// The endpoint in its slice.
    pub(crate) endpoint: &'a SliceEndpoint,
}

/// The place of this node in the cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topology<'a> {
    /// The node's name.
    pub(crate) node: &'a Name,
    /// Its zone, if known.
    pub(crate) zone: Option<&'a Name>,
}

/// The lists that a service port uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lists {
    /// The list of the Cluster policy.
    pub(crate) cluster: bool,
    /// The list of the Local policy.
    pub(crate) local: bool,
}

/// The endpoints of a service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Under the Cluster policy, sorted.
    pub(crate) cluster: Arc<[Endpoint]>,
    /// Under the Local policy, sorted.
    pub(crate) local: Arc<[Endpoint]>,
    /// What happens to connections whose list is empty.
    pub(crate) unserved: Unserved,
}

/// Chooses from `candidates`, which are sorted and distinct.
pub(crate) fn select(candidates: &[Candidate<'_>], topology: Topology<'_>, lists: Lists) -> Selection {
    let is_usable = |candidate: &Candidate<'_>| candidate.is_ready() || candidate.is_last_resort();
    let unserved = if candidates.iter().any(is_usable) { Unserved::Drop } else { Unserved::Reject };
    Selection {
        cluster: if lists.cluster { cluster(candidates, topology) } else { Arc::default() },
        local: if lists.local { local(candidates, topology) } else { Arc::default() },
        unserved,
    }
}

fn cluster(candidates: &[Candidate<'_>], topology: Topology<'_>) -> Arc<[Endpoint]> {
    let scope = HintScope::of(candidates, topology);
    let ready = collect(candidates, topology, |c| c.is_ready() && scope.admits(c.endpoint, topology));
    if !ready.is_empty() {
        return ready;
    }
    collect(candidates, topology, Candidate::is_last_resort)
}

fn local(candidates: &[Candidate<'_>], topology: Topology<'_>) -> Arc<[Endpoint]> {
    let ready = collect(candidates, topology, |c| c.is_local(topology) && c.is_ready());
    if !ready.is_empty() {
        return ready;
    }
    collect(candidates, topology, |c| c.is_local(topology) && c.is_last_resort())
}

fn collect<'a>(
    candidates: &[Candidate<'a>],
    topology: Topology<'_>,
    is_chosen: impl Fn(&Candidate<'a>) -> bool,
) -> Arc<[Endpoint]> {
    candidates.iter().filter(|c| is_chosen(c)).map(|candidate| candidate.at(topology)).collect()
}

/// The endpoints outside `selection` that still serve: they keep the flows that they have.
pub(crate) fn draining(
    candidates: &[Candidate<'_>],
    topology: Topology<'_>,
    selection: &Selection,
) -> Box<[SocketAddr]> {
    let is_chosen = |endpoint: &Endpoint| {
        [&selection.cluster, &selection.local].iter().any(|list| list.binary_search(endpoint).is_ok())
    };
    candidates
        .iter()
        .filter(|candidate| candidate.is_ready() || candidate.endpoint.conditions.serving)
        .map(|candidate| candidate.at(topology))
        .filter(|endpoint| !is_chosen(endpoint))
        .map(|endpoint| endpoint.socket_address())
        .collect()
}

/// The number of distinct addresses of ready endpoints on this node in `slices`, for any port. The result of a load
/// balancer's health check depends on it.
///
/// As in [`SlicePorts::merge`], an address counts if any slice has it as ready and on this node.
pub(crate) fn count_ready_local(slices: &[&EndpointSlice], topology: Topology<'_>) -> usize {
    let serving = slices.iter().filter(|slice| !slice.ports.is_empty());
    let ready = serving.flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.conditions.ready);
    let local = ready.filter(|endpoint| locality(endpoint, topology) == Locality::Local);
    local.map(|endpoint| endpoint.address).collect::<HashSet<_>>().len()
}

impl Candidate<'_> {
    fn is_ready(&self) -> bool {
        self.endpoint.conditions.ready
    }

    /// Serves while its pod terminates; used if no endpoint is ready.
    fn is_last_resort(&self) -> bool {
        self.endpoint.conditions.serving && self.endpoint.conditions.terminating
    }

    fn is_local(&self, topology: Topology<'_>) -> bool {
        self.locality(topology) == Locality::Local
    }

    fn locality(&self, topology: Topology<'_>) -> Locality {
        locality(self.endpoint, topology)
    }

    fn key(&self) -> (IpAddr, u16) {
        (self.endpoint.address, self.port)
    }

    /// Of two entries for one address and port, the one of the higher rank counts.
    ///
    /// Entries of equal rank do not differ in anything that a decision depends on.
    fn rank(&self, topology: Topology<'_>) -> impl Ord {
        let Conditions { ready, serving, terminating } = self.endpoint.conditions;
        let locality = match self.locality(topology) {
            Locality::Local => 2,
            Locality::Remote => 1,
            Locality::Unknown => 0,
        };
        // An endpoint without hints disables hints for the service port, which is always correct.
        let hints = self.endpoint.hints.as_deref().map(|hints| (&hints.zones, &hints.nodes));
        (ready, ready && locality == 2, !terminating, serving, locality, Reverse(hints))
    }

    fn at(&self, topology: Topology<'_>) -> Endpoint {
        Endpoint { address: self.endpoint.address, port: self.port, locality: self.locality(topology) }
    }
}

/// Which endpoints the hints allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HintScope {
    SameNode,
    SameZone,
    Anywhere,
}

impl HintScope {
    /// The narrowest one for which every ready endpoint has a hint, and at least one has a hint for this node.
    fn of(candidates: &[Candidate<'_>], topology: Topology<'_>) -> Self {
        let ready = || candidates.iter().filter(|candidate| candidate.is_ready()).map(|c| c.endpoint);
        let all = |has: fn(&Hints) -> bool| ready().all(|e| e.hints.as_deref().is_some_and(has));
        let any = |scope: Self| ready().any(|endpoint| scope.admits(endpoint, topology));
        if any(Self::SameNode) && all(|hints| !hints.nodes.is_empty()) {
            return Self::SameNode;
        }
        if any(Self::SameZone) && all(|hints| !hints.zones.is_empty()) {
            return Self::SameZone;
        }
        Self::Anywhere
    }

    fn admits(self, endpoint: &SliceEndpoint, topology: Topology<'_>) -> bool {
        let hints = endpoint.hints.as_deref();
        match self {
            Self::SameNode => hints.is_some_and(|hints| hints.nodes.contains(topology.node)),
            Self::SameZone => {
                hints.is_some_and(|hints| topology.zone.is_some_and(|zone| hints.zones.contains(zone)))
            }
            Self::Anywhere => true,
        }
    }
}

fn locality(endpoint: &SliceEndpoint, topology: Topology<'_>) -> Locality {
    match &endpoint.node {
        None => Locality::Unknown,
        Some(node) if node == topology.node => Locality::Local,
        Some(_) => Locality::Remote,
    }
}

/// The target ports and endpoints that the slices of one Service in one family have for each port.
#[derive(Debug)]
pub(crate) struct SlicePorts<'a>(HashMap<(&'a Name, Protocol), Vec<TargetPort<'a>>>);

/// A target port, and the endpoints of a slice that has it.
type TargetPort<'a> = (u16, &'a [SliceEndpoint]);

impl<'a> SlicePorts<'a> {
    pub(crate) fn of(slices: &[&'a EndpointSlice]) -> Self {
        let mut ports: HashMap<_, Vec<_>> = HashMap::new();
        for slice in slices {
            for port in &slice.ports {
                let of_port = ports.entry((&port.name, port.protocol)).or_default();
                of_port.push((port.port, &*slice.endpoints));
            }
        }
        Self(ports)
    }

    /// All endpoints of one port, sorted by address and port, each once.
    ///
    /// Slices may disagree about an endpoint while the control plane moves it from one to another, or if two
    /// controllers write them. What counts is, in this order, independent of the slices' names:
    ///
    /// 1. The endpoint is ready if any slice has it as ready.
    /// 2. A pod that runs counts before one that terminates: it has replaced that one and got its address.
    /// 3. The endpoint serves if any of the remaining entries has it as serving.
    pub(crate) fn merge(
        &self,
        name: &Name,
        protocol: Protocol,
        topology: Topology<'_>,
    ) -> Vec<Candidate<'a>> {
        let slices = self.0.get(&(name, protocol)).map_or(&[][..], |slices| slices);
        let mut candidates = Vec::with_capacity(slices.iter().map(|(_, endpoints)| endpoints.len()).sum());
        for (port, endpoints) in slices {
            candidates.extend(endpoints.iter().map(|endpoint| Candidate { port: *port, endpoint }));
        }
        candidates.sort_unstable_by(|a, b| {
            a.key().cmp(&b.key()).then_with(|| b.rank(topology).cmp(&a.rank(topology)))
        });
        candidates.dedup_by_key(|candidate| candidate.key());
        candidates
    }
}

//! Which of a service port's endpoints may receive connections.
//!
//! Two lists, each with its own fall-back to endpoints that serve while they terminate
//! (KEP-1669): one for the Cluster policy, narrowed by the control plane's hints
//! (KEP-2433, KEP-3015), one for the Local policy, which hints do not touch.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::address::Protocol;
use crate::event::{Conditions, EndpointSlice, Hints, SliceEndpoint};
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
/// As [`Offers::merge`] has it, an address that any slice calls ready and of this node is both.
pub(crate) fn count_ready_here(slices: &[&EndpointSlice], here: Here<'_>) -> usize {
    let serving = slices.iter().filter(|slice| !slice.ports.is_empty());
    let ready = serving.flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.conditions.ready);
    let here = ready.filter(|endpoint| locality(endpoint, here) == Locality::Local);
    here.map(|endpoint| endpoint.address).collect::<HashSet<_>>().len()
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
        locality(self.endpoint, here)
    }

    fn key(&self) -> (IpAddr, u16) {
        (self.endpoint.address, self.port)
    }

    /// Which of two entries for one address and port is believed: the one of the higher rank.
    ///
    /// Entries of equal rank differ in nothing that any decision is made by.
    fn rank(&self, here: Here<'_>) -> impl Ord {
        let Conditions { ready, serving, terminating } = self.endpoint.conditions;
        let locality = match self.locality(here) {
            Locality::Local => 2,
            Locality::Remote => 1,
            Locality::Unknown => 0,
        };
        // An endpoint without hints lets everybody use all endpoints, which is never wrong.
        let hints = self.endpoint.hints.as_deref().map(|hints| (&hints.zones, &hints.nodes));
        (ready, ready && locality == 2, !terminating, serving, locality, Reverse(hints))
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

fn locality(endpoint: &SliceEndpoint, here: Here<'_>) -> Locality {
    match &endpoint.node {
        None => Locality::Unknown,
        Some(node) if node == here.node => Locality::Local,
        Some(_) => Locality::Remote,
    }
}

/// The slices of one Service in one family, by the ports that they have endpoints for.
#[derive(Debug)]
pub(crate) struct Offers<'a>(HashMap<(&'a Name, Protocol), Vec<Offer<'a>>>);

/// The number that one slice gives a port, and the slice's endpoints.
type Offer<'a> = (u16, &'a [SliceEndpoint]);

impl<'a> Offers<'a> {
    /// What these slices offer.
    pub(crate) fn of(slices: &[&'a EndpointSlice]) -> Self {
        let mut offers: HashMap<_, Vec<_>> = HashMap::new();
        for slice in slices {
            for port in &slice.ports {
                let of_port = offers.entry((&port.name, port.protocol)).or_default();
                of_port.push((port.port, &*slice.endpoints));
            }
        }
        Self(offers)
    }

    /// All endpoints of one port, sorted by address and port, each once.
    ///
    /// Slices may disagree about an endpoint, as while the control plane moves it from one to another, or where two
    /// controllers write. What counts is, in this order, independent of the slices' names:
    ///
    /// 1. The endpoint is ready if any of them calls it ready.
    /// 2. A pod that runs counts before one that terminates: it was replaced and its successor got its address.
    /// 3. The endpoint serves if any of those that are left say so.
    pub(crate) fn merge(&self, name: &Name, protocol: Protocol, here: Here<'_>) -> Vec<Candidate<'a>> {
        let offers = self.0.get(&(name, protocol)).map_or(&[][..], |offers| offers);
        let mut candidates = Vec::with_capacity(offers.iter().map(|(_, endpoints)| endpoints.len()).sum());
        for (port, endpoints) in offers {
            candidates.extend(endpoints.iter().map(|endpoint| Candidate { port: *port, endpoint }));
        }
        candidates
            .sort_unstable_by(|a, b| a.key().cmp(&b.key()).then_with(|| b.rank(here).cmp(&a.rank(here))));
        candidates.dedup_by_key(|candidate| candidate.key());
        candidates
    }
}

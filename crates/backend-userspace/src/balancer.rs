//! The endpoints of one service port, and which of them a client gets.
//!
//! One [`Balancer`] serves all addresses of a service port, so that they share round-robin order and session affinity. A
//! change of the plan replaces its [`PortState`] in one step; established connections keep their endpoint.

mod affinity;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use portolan_core::event::TrafficPolicy;
use portolan_core::plan::LocalDetector;
use portolan_core::{Endpoint, ServicePort, ServicePortName};
use tokio::sync::watch;

use crate::address::AddressKind;
use crate::filter::{Guard, guard_for};

use affinity::Affinity;

/// Where a client is, as far as traffic policies depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On this node: a program or a pod.
    Inside,
    /// Anywhere else.
    Outside,
}

/// The endpoints for a client that came to this kind of address from there.
pub(crate) fn endpoints_for(port: &ServicePort, kind: AddressKind, origin: Origin) -> &Arc<[Endpoint]> {
    let policy = match (kind, origin) {
        (AddressKind::ClusterIp, _) => port.internal_traffic_policy,
        (_, Origin::Inside) => TrafficPolicy::Cluster,
        (_, Origin::Outside) => port.external_traffic_policy,
    };
    match policy {
        TrafficPolicy::Cluster => &port.cluster_endpoints,
        TrafficPolicy::Local => &port.local_endpoints,
    }
}

/// A service port of the plan with what is derived from it.
#[derive(Debug)]
pub(crate) struct PortState {
    pub(crate) port: Arc<ServicePort>,
    cluster: Rounds,
    local: Rounds,
    /// By [`AddressKind`].
    guards: [Option<Arc<Guard>>; 4],
}

impl PortState {
    fn new(port: Arc<ServicePort>, detector: Option<&LocalDetector>, previous: Option<&Self>) -> Self {
        let guards = AddressKind::ALL.map(|kind| {
            let guard = guard_for(&port, kind, detector)?;
            // The same guard stays the same object, so that each listener need not compare it.
            let previous = previous.and_then(|previous| previous.guard(kind));
            Some(previous.filter(|previous| **previous == guard).unwrap_or_else(|| Arc::new(guard)))
        });
        let rounds = |endpoints: &[Endpoint]| Rounds { count: endpoints.len(), rest: Mutex::default() };
        let (cluster, local) = (rounds(&port.cluster_endpoints), rounds(&port.local_endpoints));
        Self { port, cluster, local, guards }
    }

    /// Which clients are let in at this kind of address; `None` where nothing listens, so that the kernel rejects.
    pub(crate) fn guard(&self, kind: AddressKind) -> Option<Arc<Guard>> {
        self.guards[kind as usize].clone()
    }

    /// Whether an existing flow to this endpoint may continue.
    pub(crate) fn keeps(&self, endpoint: SocketAddr) -> bool {
        let port = &self.port;
        contains(&port.cluster_endpoints, endpoint)
            || contains(&port.local_endpoints, endpoint)
            || port.draining_endpoints.binary_search(&endpoint).is_ok()
    }
}

/// Whether a sorted list has an endpoint at this address.
fn contains(list: &[Endpoint], endpoint: SocketAddr) -> bool {
    list.binary_search_by(|other| other.socket_address().cmp(&endpoint)).is_ok()
}

/// Round-robin with a random order in each round, so that the proxies of a cluster do not walk the same list in step, and
/// clients that open connections in pairs do not always get the same two endpoints.
#[derive(Debug)]
struct Rounds {
    count: usize,
    /// The rest of this round.
    rest: Mutex<Vec<usize>>,
}

impl Rounds {
    /// The index of the next endpoint; `None` without endpoints.
    fn next(&self) -> Option<usize> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.is_empty() {
            rest.extend(0..self.count);
            fastrand::shuffle(&mut rest);
        }
        rest.pop()
    }
}

/// Chooses endpoints for the clients of one service port.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) name: ServicePortName,
    state: watch::Sender<Arc<PortState>>,
    affinity: Mutex<Affinity>,
}

impl Balancer {
    /// A balancer without endpoints.
    pub(crate) fn new(name: ServicePortName) -> Self {
        let state = PortState::new(Arc::new(ServicePort::new(0)), None, None);
        Self { name, state: watch::Sender::new(Arc::new(state)), affinity: Mutex::default() }
    }

    /// Replaces the service port.
    pub(crate) fn update(&self, port: Arc<ServicePort>, detector: Option<&LocalDetector>) {
        let state = PortState::new(port, detector, Some(&self.state()));
        self.state.send_replace(Arc::new(state));
    }

    /// The present state.
    pub(crate) fn state(&self) -> Arc<PortState> {
        Arc::clone(&self.state.borrow())
    }

    /// Receives every update.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<PortState>> {
        self.state.subscribe()
    }

    /// The endpoint for a client that came to this kind of address from `origin`: the one of its session affinity, or the
    /// next one. Leaves out those in `failed`; `None` when none is left.
    pub(crate) fn choose(
        &self,
        client: IpAddr,
        kind: AddressKind,
        origin: Origin,
        failed: &[SocketAddr],
        now: Instant,
    ) -> Option<SocketAddr> {
        let state = self.state();
        let endpoints = endpoints_for(&state.port, kind, origin);
        let is_local = Arc::ptr_eq(endpoints, &state.port.local_endpoints);
        let rounds = if is_local { &state.local } else { &state.cluster };
        let next = || {
            let mut round = std::iter::repeat_with(|| rounds.next()).take(2 * endpoints.len());
            round.find_map(|index| {
                let address = endpoints.get(index?)?.socket_address();
                (!failed.contains(&address)).then_some(address)
            })
        };
        let Some(timeout) = state.port.session_affinity else { return next() };
        let mut affinity = self.affinity.lock().unwrap_or_else(PoisonError::into_inner);
        let had = affinity
            .recall(client, timeout, now)
            .filter(|endpoint| contains(endpoints, *endpoint) && !failed.contains(endpoint));
        let chosen = had.or_else(next)?;
        affinity.note(client, chosen, timeout, now);
        Some(chosen)
    }
}

#[cfg(test)]
mod tests;

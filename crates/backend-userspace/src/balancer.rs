//! Whose turn it is: the endpoints of one service port, and which of them a client gets.
//!
//! One [`Balancer`] serves all addresses of a service port, so that they share its turns and what it
//! remembers of clients. The plan's change replaces what it knows in one step; connections under way keep
//! the endpoint that they have.

mod affinity;
mod rounds;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use portolan_core::event::TrafficPolicy;
use portolan_core::{Endpoint, ServicePort, ServicePortName};
use tokio::sync::watch;

use crate::limits::Share;

use affinity::Affinity;
use rounds::Rounds;

/// By which kind of address a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    /// The cluster IP.
    ClusterIp,
    /// A load-balancer address, which source ranges guard.
    LoadBalancer,
    /// An external IP.
    ExternalIp,
    /// The node port.
    NodePort,
}

/// Where a client is, as far as policies ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On this node: a program on it, or one of its pods.
    Inside,
    /// Anywhere else.
    Outside,
}

/// One of the two lists of a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// All endpoints that this node may use.
    Cluster,
    /// Those on this node.
    Local,
}

/// Which list a client may use that came by `via` from `origin`.
pub(crate) fn list_for(port: &ServicePort, via: Via, origin: Origin) -> List {
    let policy = match (via, origin) {
        (Via::ClusterIp, _) => port.internal_traffic_policy,
        (_, Origin::Inside) => TrafficPolicy::Cluster,
        (_, Origin::Outside) => port.external_traffic_policy,
    };
    match policy {
        TrafficPolicy::Cluster => List::Cluster,
        TrafficPolicy::Local => List::Local,
    }
}

/// The endpoints of a list.
pub(crate) fn endpoints(port: &ServicePort, list: List) -> &Arc<[Endpoint]> {
    match list {
        List::Cluster => &port.cluster_endpoints,
        List::Local => &port.local_endpoints,
    }
}

/// What a balancer knows at one moment.
#[derive(Debug)]
pub(crate) struct Known {
    port: Arc<ServicePort>,
    cluster: Rounds,
    local: Rounds,
}

impl Known {
    fn new(port: Arc<ServicePort>) -> Self {
        let (cluster, local) =
            (Rounds::new(port.cluster_endpoints.len()), Rounds::new(port.local_endpoints.len()));
        Self { port, cluster, local }
    }

    /// The service port as the plan has it.
    pub(crate) fn port(&self) -> &Arc<ServicePort> {
        &self.port
    }

    /// Whether a flow that already leads to this endpoint may go on.
    pub(crate) fn keeps(&self, endpoint: SocketAddr) -> bool {
        let port = &self.port;
        contains(&port.cluster_endpoints, endpoint)
            || contains(&port.local_endpoints, endpoint)
            || port.lingering_endpoints.binary_search(&endpoint).is_ok()
    }
}

/// Whether a sorted list has an endpoint at this address.
fn contains(list: &[Endpoint], endpoint: SocketAddr) -> bool {
    list.binary_search_by(|other| other.socket_address().cmp(&endpoint)).is_ok()
}

/// Chooses endpoints for the clients of one service port.
#[derive(Debug)]
pub(crate) struct Balancer {
    name: ServicePortName,
    share: Arc<Share>,
    known: watch::Sender<Arc<Known>>,
    affinity: Mutex<Affinity>,
}

impl Balancer {
    /// A balancer that remembers nobody yet, of a Service with this share of all sessions.
    pub(crate) fn new(name: ServicePortName, port: Arc<ServicePort>, share: Arc<Share>) -> Self {
        Self {
            name,
            share,
            known: watch::Sender::new(Arc::new(Known::new(port))),
            affinity: Mutex::new(Affinity::default()),
        }
    }

    /// The service port's identity.
    pub(crate) fn name(&self) -> &ServicePortName {
        &self.name
    }

    /// What its Service has of all sessions.
    pub(crate) fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// From now on this is the service port.
    pub(crate) fn update(&self, port: Arc<ServicePort>) {
        self.known.send_replace(Arc::new(Known::new(port)));
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.borrow())
    }

    /// Tells of every update.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    /// The endpoint for a client that came by `via` from `origin`: the one it had, if it is to keep that, or
    /// whose turn it is. `failed` names those that were tried for it just now; nothing is left when all were.
    pub(crate) fn choose(
        &self,
        client: IpAddr,
        via: Via,
        origin: Origin,
        failed: &[SocketAddr],
        now: Instant,
    ) -> Option<SocketAddr> {
        let known = self.known();
        let list = list_for(&known.port, via, origin);
        let endpoints = endpoints(&known.port, list);
        let turns = match list {
            List::Cluster => &known.cluster,
            List::Local => &known.local,
        };
        let next = || {
            let mut turn = std::iter::repeat_with(|| turns.next()).take(2 * endpoints.len());
            turn.find_map(|index| {
                let address = endpoints.get(index?)?.socket_address();
                (!failed.contains(&address)).then_some(address)
            })
        };
        let Some(timeout) = known.port.session_affinity else { return next() };
        let mut affinity = self.affinity.lock().unwrap_or_else(PoisonError::into_inner);
        let had = affinity
            .recall(client, timeout, now)
            .filter(|endpoint| contains(endpoints, *endpoint) && !failed.contains(endpoint));
        let chosen = had.or_else(next)?;
        affinity.note(client, chosen, timeout, now);
        Some(chosen)
    }

    /// How many endpoints a client that came like this could get.
    pub(crate) fn count(&self, via: Via, origin: Origin) -> usize {
        let known = self.known.borrow();
        endpoints(&known.port, list_for(&known.port, via, origin)).len()
    }
}

#[cfg(test)]
mod tests;

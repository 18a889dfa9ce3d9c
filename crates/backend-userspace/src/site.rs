//! What the sockets of one place share with the tasks behind them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use crate::balancer::{Balancer, Origin, Via};
use crate::filter::Guard;
use crate::origin::Surroundings;
use crate::relay::Relay;

/// One place where a service port answers.
#[derive(Debug)]
pub(crate) struct Site {
    /// The address that clients ask.
    pub(crate) address: SocketAddr,
    pub(crate) via: Via,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) relay: Arc<Relay>,
    guard: RwLock<Arc<Guard>>,
}

impl Site {
    pub(crate) fn new(
        address: SocketAddr,
        via: Via,
        balancer: Arc<Balancer>,
        surroundings: Arc<Surroundings>,
        relay: Arc<Relay>,
        guard: Arc<Guard>,
    ) -> Self {
        Self { address, via, balancer, surroundings, relay, guard: RwLock::new(guard) }
    }

    /// Whether a client may come in.
    pub(crate) fn admits(&self, client: IpAddr) -> bool {
        let is_node = self.surroundings.is_node(client, self.address.ip());
        self.guard.read().unwrap_or_else(PoisonError::into_inner).admits(client, is_node)
    }

    /// Who may come in now.
    pub(crate) fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this holds for new clients.
    pub(crate) fn set_guard(&self, guard: Arc<Guard>) {
        *self.guard.write().unwrap_or_else(PoisonError::into_inner) = guard;
    }

    /// Where a client is.
    pub(crate) fn origin(&self, client: IpAddr) -> Origin {
        self.surroundings.origin(client, self.address.ip())
    }
}

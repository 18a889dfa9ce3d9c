//! The health check servers of Services (`healthCheckNodePort`).
//!
//! A load balancer that preserves client IPs (`externalTrafficPolicy: Local`) must know which nodes have endpoints. Each
//! such Service has a port on every node, which responds 200 if there are local endpoints, otherwise 503.
//!
//! ```text
//! sync loop ─▶ ServiceHealth::update ─▶ pending updates ─▶ ServiceHealth::serve ─▶ one listener per port
//! ```
//!
//! The two ends are on different threads, and the loop must not wait, so updates are merged until the servers take
//! them.
//!
//! Always holds: each IP family has its ports; an unchanged port is not touched; responses have the state of the last
//! update.
//!
//! kube-proxy retries a port that it cannot open at its next sync, which comes soon, because it syncs without changes.
//! Portolan does not, so there is a timer.

mod answer;
mod family;
mod local;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::plan::NodePortAddresses;
use portolan_core::{HealthCheck, IpFamily, ObjectName, PerFamily};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::health::Health;
use family::FamilyServers;

/// A handle on the health check servers of this node; clones share them.
#[derive(Clone, Default)]
pub struct ServiceHealth {
    shared: Arc<Shared>,
    on_failure: Option<OnFailure>,
}

/// A port of a Service that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFailure {
    /// The Service.
    pub service: ObjectName,
    /// The port.
    pub port: u16,
    /// The address that cannot be bound, and why.
    pub error: String,
}

/// Called for ports that cannot be opened.
pub type OnFailure = Arc<dyn Fn(&OpenFailure) + Send + Sync>;

#[derive(Debug, Default)]
struct Shared {
    updates: Mutex<PerFamily<Updates>>,
    arrived: Notify,
}

/// Updates that the servers of a family have not taken yet.
#[derive(Debug, Default)]
struct Updates {
    /// The addresses to listen on.
    addresses: Option<NodePortAddresses>,
    /// Changed Services; `None` for those without a health check.
    checks: HashMap<ObjectName, Option<HealthCheck>>,
    /// Whether a port could not be opened, so that every plan is a reason to retry.
    lacks_ports: bool,
}

impl fmt::Debug for ServiceHealth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ServiceHealth").field(&self.shared).finish()
    }
}

impl ServiceHealth {
    /// Calls `hook` when a port cannot be opened: once for all retries, until the port opens or the Service's port or the
    /// addresses change. It must not block.
    #[must_use]
    pub fn on_failure(self, hook: OnFailure) -> Self {
        Self { on_failure: Some(hook), ..self }
    }

    /// A plan of `family` is programmed: these Services have these checks, on `addresses`; those not in `changed` are
    /// unchanged.
    ///
    /// Also retries ports that could not be opened.
    pub fn update(
        &self,
        family: IpFamily,
        addresses: &NodePortAddresses,
        changed: Vec<(ObjectName, Option<HealthCheck>)>,
    ) {
        let mut all = self.updates();
        let updates = &mut all[family];
        let moves = updates.addresses.as_ref() != Some(addresses);
        if moves {
            updates.addresses = Some(addresses.clone());
        }
        if moves || updates.lacks_ports || !changed.is_empty() {
            updates.checks.extend(changed);
            self.shared.arrived.notify_one();
        }
    }

    /// Runs the servers for as long as the process lives, with the health of the proxy.
    pub async fn serve(self, health: Health) -> Infallible {
        let mut families =
            PerFamily::from_fn(|family| FamilyServers::new(family, health.clone(), self.on_failure.clone()));
        loop {
            let retry = families.iter().filter_map(|(_, servers)| servers.retry()).min();
            let has_updates = tokio::select! {
                () = self.shared.arrived.notified() => true,
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => false,
            };
            for family in IpFamily::ALL {
                let (addresses, checks) = self.take(family);
                let servers = &mut families[family];
                servers.update(addresses, checks).await;
                servers.open_closed(has_updates);
                self.updates()[family].lacks_ports = servers.retry().is_some();
            }
        }
    }

    fn take(
        &self,
        family: IpFamily,
    ) -> (Option<NodePortAddresses>, HashMap<ObjectName, Option<HealthCheck>>) {
        let updates = &mut self.updates()[family];
        (updates.addresses.clone(), std::mem::take(&mut updates.checks))
    }

    /// Every method leaves the updates consistent, so a panic elsewhere does not matter.
    fn updates(&self) -> MutexGuard<'_, PerFamily<Updates>> {
        self.shared.updates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

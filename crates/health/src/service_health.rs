//! The ports where load balancers ask about one Service (`healthCheckNodePort`).
//!
//! A load balancer that keeps clients' addresses (`externalTrafficPolicy: Local`) must know
//! which nodes have endpoints. Each such Service has a port of its own on every node, which
//! answers 200 where there are some and 503 where there are none.
//!
//! ```text
//! sync loop ─▶ ServiceHealth::tell ─▶ news ─▶ ServiceHealth::serve ─▶ one listener per port
//! ```
//!
//! The two ends are on different threads, and the loop must not wait, so what it tells is
//! merged until the servers come to look.
//!
//! Always holds: a port is opened, closed and answers for one family alone; a port that
//! stays what it was is not touched; what is answered is what was told last.
//!
//! kube-proxy tries a port that it cannot open again at its next sync, which comes soon,
//! because it syncs when nothing has changed. Here nothing comes without a change, so
//! there is a timer besides.

mod answer;
mod family;
mod local;
mod open;

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

/// A handle on all such ports of this node; clones share them.
#[derive(Clone, Default)]
pub struct ServiceHealth {
    shared: Arc<Shared>,
    told: Option<Told>,
}

/// A port of a Service that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFailure {
    /// The Service whose check is asked for there.
    pub service: ObjectName,
    /// The port.
    pub port: u16,
    /// Which address stood in the way, and why.
    pub error: String,
}

/// Who is told of ports that cannot be opened.
pub type Told = Arc<dyn Fn(&OpenFailure) + Send + Sync>;

#[derive(Debug, Default)]
struct Shared {
    news: Mutex<PerFamily<News>>,
    arrived: Notify,
}

/// What one family's servers have not looked at yet.
#[derive(Debug, Default)]
struct News {
    /// Where to listen, as last told.
    addresses: Option<NodePortAddresses>,
    /// What has changed; `None` for Services that ask for no check any more.
    checks: HashMap<ObjectName, Option<HealthCheck>>,
    /// Whether the servers lack a port, and want to hear of every plan.
    lacks_ports: bool,
}

impl fmt::Debug for ServiceHealth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ServiceHealth").field(&self.shared).finish()
    }
}

impl ServiceHealth {
    /// Has `hook` told when a port cannot be opened: once, however often it is tried again,
    /// until it could be opened, or is asked for anew or elsewhere. It must not wait.
    #[must_use]
    pub fn telling(self, hook: Told) -> Self {
        Self { told: Some(hook), ..self }
    }

    /// A plan of `family` is in force: from now on these Services have these checks, to be
    /// asked at `addresses`; what is not `changed` stays.
    ///
    /// Also lets ports that could not be opened be tried again.
    pub fn tell(
        &self,
        family: IpFamily,
        addresses: &NodePortAddresses,
        changed: Vec<(ObjectName, Option<HealthCheck>)>,
    ) {
        let mut all = self.news();
        let news = &mut all[family];
        let moves = news.addresses.as_ref() != Some(addresses);
        if moves {
            news.addresses = Some(addresses.clone());
        }
        if moves || news.lacks_ports || !changed.is_empty() {
            news.checks.extend(changed);
            self.shared.arrived.notify_one();
        }
    }

    /// Serves what is told for as long as the process lives, judging the proxy by `health`.
    pub async fn serve(self, health: Health) -> Infallible {
        let mut families =
            PerFamily::from_fn(|family| FamilyServers::new(family, health.clone(), self.told.clone()));
        loop {
            let retry = families.iter().filter_map(|(_, servers)| servers.retry()).min();
            let told = tokio::select! {
                () = self.shared.arrived.notified() => true,
                () = sleep_or_wait(retry) => false,
            };
            for family in IpFamily::ALL {
                let (addresses, checks) = self.take(family);
                let servers = &mut families[family];
                servers.update(addresses, checks).await;
                servers.open_closed(told);
                self.news()[family].lacks_ports = servers.retry().is_some();
            }
        }
    }

    fn take(
        &self,
        family: IpFamily,
    ) -> (Option<NodePortAddresses>, HashMap<ObjectName, Option<HealthCheck>>) {
        let news = &mut self.news()[family];
        (news.addresses.clone(), std::mem::take(&mut news.checks))
    }

    /// Every method leaves the news whole, so one that panicked elsewhere has broken nothing.
    fn news(&self) -> MutexGuard<'_, PerFamily<News>> {
        self.shared.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sleep_or_wait(until: Option<Instant>) {
    match until {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

//! The health check ports of an IP family: which are open, which should be.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use portolan_core::plan::NodePortAddresses;
use portolan_core::retry::Backoff;
use portolan_core::{HealthCheck, IpFamily, ObjectName};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::answer::Answer;
use super::local::listening_addresses;
use super::{OnFailure, OpenFailure};
use crate::health::Health;
use crate::http;
use crate::listen::{self, Families};

/// The pause after a first failure, and the shortest between two attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause; pauses double up to it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The health check servers of an IP family.
pub(crate) struct FamilyServers {
    family: IpFamily,
    health: Health,
    on_failure: Option<OnFailure>,
    addresses: NodePortAddresses,
    servers: HashMap<ObjectName, Server>,
    /// The Services whose port should be open and is not, with the error that was logged last. In order, so that of two
    /// Services with one port the same always gets it.
    closed: BTreeMap<ObjectName, Option<String>>,
    /// Whether it was logged that there is no address to listen on.
    has_no_address: bool,
    last_attempt: Instant,
    backoff: Backoff,
    /// From the last attempt to the next.
    pause: Duration,
}

struct Server {
    port: u16,
    answer: Answer,
    /// The listeners; none while the port is closed.
    listeners: JoinSet<Infallible>,
}

/// An address cannot be bound.
#[derive(Debug)]
pub(crate) struct OpenError {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The reason.
    pub(crate) source: io::Error,
}

impl FamilyServers {
    /// No servers yet. `on_failure` is called for ports that cannot be opened.
    pub(crate) fn new(family: IpFamily, health: Health, on_failure: Option<OnFailure>) -> Self {
        Self {
            family,
            health,
            on_failure,
            addresses: NodePortAddresses::All,
            servers: HashMap::new(),
            closed: BTreeMap::new(),
            has_no_address: false,
            last_attempt: Instant::now(),
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, 1.0..1.0),
            pause: FIRST_PAUSE,
        }
    }

    /// When to retry the ports that could not be opened; `None` if there are none.
    pub(crate) fn retry(&self) -> Option<Instant> {
        (!self.closed.is_empty()).then(|| self.last_attempt + self.pause)
    }

    /// Applies updates and closes the ports that are no longer needed.
    pub(crate) async fn update(
        &mut self,
        addresses: Option<NodePortAddresses>,
        changed: HashMap<ObjectName, Option<HealthCheck>>,
    ) {
        if let Some(addresses) = addresses.filter(|addresses| *addresses != self.addresses) {
            self.addresses = addresses;
            self.has_no_address = false;
            for (name, server) in &mut self.servers {
                server.close().await;
                self.closed.insert(name.clone(), None);
            }
        }
        for (name, check) in changed {
            self.set(name, check).await;
        }
    }

    async fn set(&mut self, name: ObjectName, check: Option<HealthCheck>) {
        let Some(HealthCheck { port, local_endpoints }) = check else {
            self.closed.remove(&name);
            if let Some(mut server) = self.servers.remove(&name) {
                server.close().await;
            }
            return;
        };
        match self.servers.get_mut(&name) {
            Some(server) if server.port == port => server.answer.set(local_endpoints),
            known => {
                if let Some(server) = known {
                    server.close().await;
                }
                let answer = Answer::new(name.clone(), local_endpoints, self.health.clone());
                self.servers.insert(name.clone(), Server { port, answer, listeners: JoinSet::new() });
                self.closed.insert(name, None);
            }
        }
    }

    /// Opens the ports that should be open and are not: immediately if some have not been tried yet, otherwise after the
    /// pause, or earlier if there are updates.
    pub(crate) fn open_closed(&mut self, has_updates: bool) {
        let now = Instant::now();
        let has_new = self.closed.values().any(Option::is_none);
        let pause = if has_updates { FIRST_PAUSE } else { self.pause };
        if self.closed.is_empty() || !(has_new || now >= self.last_attempt + pause) {
            return;
        }
        self.last_attempt = now;
        if has_new {
            self.backoff.reset();
        }
        self.pause = self.backoff.fail(0.0);
        let addresses = self.listening_addresses();
        for (name, logged) in std::mem::take(&mut self.closed) {
            let problem = match &addresses {
                Some(addresses) => self.open(&name, addresses, logged),
                None => Some(logged.unwrap_or_default()),
            };
            if let Some(problem) = problem {
                self.closed.insert(name, Some(problem));
            }
        }
    }

    /// The addresses to listen on; logs once if there are none.
    fn listening_addresses(&mut self) -> Option<Vec<SocketAddr>> {
        let family = self.family;
        let is_logged = std::mem::replace(&mut self.has_no_address, true);
        match listening_addresses(family, &self.addresses) {
            Ok(addresses) if !addresses.is_empty() => {
                self.has_no_address = false;
                return Some(addresses);
            }
            _ if is_logged => {}
            Ok(_) => {
                let reason = "no local address is in nodePortAddresses";
                info!(ipFamily = %family, reason, "Failed to serve health checks of Services");
            }
            Err(err) => error!(ipFamily = %family, %err, "Failed to serve health checks of Services"),
        }
        None
    }

    /// Opens a port. Returns the error that was logged if that failed.
    fn open(
        &mut self,
        name: &ObjectName,
        addresses: &[SocketAddr],
        logged: Option<String>,
    ) -> Option<String> {
        let server = self.servers.get_mut(name)?;
        let port = server.port;
        match open(addresses, port, &server.answer.router()) {
            Ok(listeners) => {
                server.listeners = listeners;
                if logged.is_some_and(|logged| !logged.is_empty()) {
                    info!(service = %name, ipFamily = %self.family, port, "Started health check of Service after a failure");
                } else {
                    debug!(service = %name, ipFamily = %self.family, port, "Started health check of Service");
                }
                None
            }
            Err(problem) => {
                let text = format!("{}: {}", problem.address, problem.source);
                if logged.as_ref() != Some(&text) {
                    self.log(name, &problem);
                }
                // Nothing was logged, or that there is no address to listen on.
                if logged.is_none_or(|logged| logged.is_empty()) {
                    self.report(name, port, &text);
                }
                Some(text)
            }
        }
    }

    fn log(&self, name: &ObjectName, problem: &OpenError) {
        error!(
            service = %name,
            address = %problem.address,
            err = %problem.source,
            retryAfter = ?self.pause,
            "Failed to serve health check of Service; load balancers send it no traffic through this node"
        );
    }

    fn report(&self, name: &ObjectName, port: u16, problem: &str) {
        if let Some(on_failure) = &self.on_failure {
            on_failure(&OpenFailure { service: name.clone(), port, error: problem.to_owned() });
        }
    }
}

impl Server {
    /// Closes the port; after this another one can be opened in its place.
    async fn close(&mut self) {
        self.listeners.shutdown().await;
    }
}

/// Serves `router` on `port` of all these addresses, or of none.
///
/// # Errors
/// An address cannot be bound.
pub(crate) fn open(
    addresses: &[SocketAddr],
    port: u16,
    router: &Router,
) -> Result<JoinSet<Infallible>, OpenError> {
    let listen = |address: &SocketAddr| {
        let mut address = *address;
        address.set_port(port);
        listen::open(address, Families::One).map_err(|source| OpenError { address, source })
    };
    let listeners = addresses.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
    Ok(listeners.into_iter().map(|listener| http::serve(listener, router.clone())).collect())
}

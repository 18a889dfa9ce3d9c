//! The ports of one family: which are open, which should be.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::plan::NodePortAddresses;
use portolan_core::{HealthCheck, IpFamily, ObjectName};
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::answer::Answer;
use super::local::listening_addresses;
use super::open::{OpenError, OpenPort};
use super::{OpenFailure, Told};
use crate::health::Health;

/// The pause after a first failure, and the shortest between two attempts, however much is told.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause; pauses double up to it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The ports of one family.
pub(crate) struct FamilyServers {
    family: IpFamily,
    health: Health,
    told: Option<Told>,
    addresses: NodePortAddresses,
    servers: HashMap<ObjectName, Server>,
    /// The Services whose port should be open and is not, with what was last logged about it.
    /// In order, so that of two that ask for one port the same always gets it.
    closed: BTreeMap<ObjectName, Option<String>>,
    /// Whether it was logged that there is nowhere to listen.
    is_nowhere: bool,
    last_attempt: Instant,
    pause: Duration,
}

struct Server {
    port: u16,
    answer: Answer,
    open: Option<OpenPort>,
}

impl FamilyServers {
    /// No Service has been told of. `told` is to hear of ports that cannot be opened.
    pub(crate) fn new(family: IpFamily, health: Health, told: Option<Told>) -> Self {
        Self {
            family,
            health,
            told,
            addresses: NodePortAddresses::All,
            servers: HashMap::new(),
            closed: BTreeMap::new(),
            is_nowhere: false,
            last_attempt: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// When to try again to open the ports that could not be opened; `None` if there are none.
    pub(crate) fn retry(&self) -> Option<Instant> {
        (!self.closed.is_empty()).then(|| self.last_attempt + self.pause)
    }

    /// Takes in what has changed and closes the ports that are no longer asked for.
    pub(crate) async fn update(
        &mut self,
        addresses: Option<NodePortAddresses>,
        changed: HashMap<ObjectName, Option<HealthCheck>>,
    ) {
        if let Some(addresses) = addresses.filter(|addresses| *addresses != self.addresses) {
            self.addresses = addresses;
            self.is_nowhere = false;
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
                self.servers.insert(name.clone(), Server { port, answer, open: None });
                self.closed.insert(name, None);
            }
        }
    }

    /// Opens the ports that should be open and are not: at once if some have not been tried
    /// yet, otherwise when the pause is over, or earlier if a plan came into force (`was_told`).
    pub(crate) fn open_closed(&mut self, was_told: bool) {
        let now = Instant::now();
        let has_new = self.closed.values().any(Option::is_none);
        let pause = if was_told { FIRST_PAUSE } else { self.pause };
        if self.closed.is_empty() || !(has_new || now >= self.last_attempt + pause) {
            return;
        }
        self.last_attempt = now;
        self.pause = if has_new { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
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

    /// Where to listen; logs, once, if there is no such place.
    fn listening_addresses(&mut self) -> Option<Vec<SocketAddr>> {
        let (family, problem) = (self.family, "health checks of Services are not served");
        let found = listening_addresses(family, &self.addresses);
        let was_nowhere = std::mem::replace(&mut self.is_nowhere, true);
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                self.is_nowhere = false;
                return Some(addresses);
            }
            Ok(_) if !was_nowhere => {
                info!(%family, because = "no local address is in --nodeport-addresses", "{problem}");
            }
            Err(error) if !was_nowhere => error!(%family, err = %error, "{problem}"),
            Ok(_) | Err(_) => {}
        }
        None
    }

    /// Opens one port. Returns what was last logged about it if that failed.
    fn open(
        &mut self,
        name: &ObjectName,
        addresses: &[SocketAddr],
        logged: Option<String>,
    ) -> Option<String> {
        let server = self.servers.get_mut(name)?;
        let port = server.port;
        match OpenPort::open(addresses, port, &server.answer.router()) {
            Ok(open) => {
                server.open = Some(open);
                if logged.is_some_and(|logged| !logged.is_empty()) {
                    info!(service = %name, family = %self.family, port, "a Service's health check is served now");
                } else {
                    debug!(service = %name, family = %self.family, port, "a Service's health check is served");
                }
                None
            }
            Err(problem) => {
                let text = format!("{}: {}", problem.address, problem.source);
                if logged.as_ref() != Some(&text) {
                    self.log(name, &problem);
                }
                // Nothing logged yet, or that there was nowhere to listen.
                if logged.is_none_or(|logged| logged.is_empty()) {
                    self.tell(name, port, &text);
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
            retry_in = ?self.pause,
            "a Service's health check cannot be served, so load balancers will pass this node by"
        );
    }

    fn tell(&self, name: &ObjectName, port: u16, problem: &str) {
        if let Some(told) = &self.told {
            told(&OpenFailure { service: name.clone(), port, error: problem.to_owned() });
        }
    }
}

impl Server {
    async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.close().await;
        }
    }
}

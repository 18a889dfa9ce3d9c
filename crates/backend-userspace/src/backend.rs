//! The factory of this mode, and the backend of one IP family.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::backend::{CleanupReport, Metric, Scope, error_chain};
use portolan_core::node::NodePortSelection;
use portolan_core::retry::Backoff;
use portolan_core::{
    ApplyReport, BackendError, BackendFactory, ChangeSet, IpFamily, NodePlan, ProbeFailure, ProxyBackend,
    ProxyMode,
};
use portolan_netlink::NetlinkError;
use tokio::sync::{self, Notify};
use tracing::warn;

use crate::capture::Captures;
use crate::counters::Counters;
use crate::listeners::Listeners;
use crate::node::{addresses_changed, watch_addresses};
use crate::relay::Relay;

/// After how long what failed is retried, at first and at most. Often a previous process of ours is about to end.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const MAX_RETRY: Duration = Duration::from_secs(5);

/// How service addresses become local to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addresses {
    /// This mode adds routes and routing rules, which needs `CAP_NET_ADMIN`.
    #[default]
    Made,
    /// An administrator has made them local, with `ip route add local 10.96.0.0/12 dev lo`.
    Prepared,
}

/// The settings of this mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How service addresses become local to this node.
    pub addresses: Addresses,
    /// The maximum number of TCP connections and UDP clients; zero for as many as there are file descriptors for.
    pub max_sessions: usize,
    /// The maximum for one Service with all its ports; zero for as many as leave some to other Services.
    pub max_sessions_per_service: usize,
    /// How long a UDP session is kept after its last datagram from either side.
    pub udp_timeout: Duration,
    /// The same where the client has sent a single datagram, unless [`udp_timeout`](Self::udp_timeout) is shorter.
    pub udp_single_timeout: Duration,
    /// How many threads relay; zero for one per processor, up to eight.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addresses: Addresses::default(),
            max_sessions: 0,
            max_sessions_per_service: 0,
            // As in connection tracking: net.netfilter.nf_conntrack_udp_timeout_stream.
            udp_timeout: Duration::from_secs(120),
            // Resolvers give up after two attempts of five seconds by default (resolv.conf(5)).
            udp_single_timeout: Duration::from_secs(10),
            threads: 0,
        }
    }
}

/// `--mode userspace`.
///
/// Both IP families share the threads that relay, and the limits.
#[derive(Debug, Default)]
pub struct UserspaceFactory {
    options: Options,
    counters: Arc<Counters>,
    relay: Mutex<Option<Arc<Relay>>>,
}

impl UserspaceFactory {
    /// A factory that has started nothing yet.
    pub fn new(options: Options) -> Self {
        Self { options, counters: Arc::default(), relay: Mutex::new(None) }
    }

    /// The metrics of both IP families.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    fn relay(&self) -> io::Result<Arc<Relay>> {
        let mut relay = self.relay.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(relay) = &*relay {
            return Ok(Arc::clone(relay));
        }
        Ok(Arc::clone(relay.insert(Relay::start(self.options, self.counters())?)))
    }
}

#[async_trait]
impl BackendFactory for UserspaceFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::USERSPACE
    }

    /// This mode forwards in the process itself, and so not without it.
    async fn is_forwarding(&self, _family: IpFamily) -> Result<bool, BackendError> {
        Ok(false)
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        let failure = |missing: String| ProbeFailure { mode: self.mode(), missing };
        if self.options.addresses == Addresses::Made {
            Captures::probe().map_err(|error| {
                let what = if error.errno() == Some(libc::EPERM) { "CAP_NET_ADMIN" } else { "local routes" };
                failure(format!("{what}, to make service addresses local ({})", error_chain(&error)))
            })?;
        }
        // Another program may have the port; the kernel checks the privilege first.
        match TcpListener::bind((Ipv4Addr::LOCALHOST, 1)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(failure(format!("CAP_NET_BIND_SERVICE, to listen at ports below 1024 ({error})")))
            }
            _ => Ok(()),
        }
    }

    fn default_node_ports(&self) -> NodePortSelection {
        NodePortSelection::Cidrs(Vec::new())
    }

    /// Starts no relay.
    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        let is_stale = match running {
            None => true,
            Some(running) => *running != self.mode() && self.probe().await.is_ok(),
        };
        if !is_stale {
            return CleanupReport::default();
        }
        let removed = Captures::open(family).and_then(|mut captures| captures.remove_all());
        removed.map_err(|error| failed("remove routes and rules", error)).into()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.counters.metrics()
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let relay = self.relay().map_err(|error| failed("start the threads that relay", error))?;
        let captures = self.options.addresses == Addresses::Made;
        let backend = UserspaceBackend::new(family, &relay, captures);
        Ok(Box::new(backend.map_err(|error| failed("open a netlink socket for routes", error))?))
    }
}

fn failed(action: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> BackendError {
    BackendError::io(action, error)
}

/// Serves one IP family from user space.
#[derive(Debug)]
pub struct UserspaceBackend {
    family: IpFamily,
    listeners: Arc<sync::Mutex<Listeners>>,
    /// Whether a plan was applied.
    is_applied: bool,
}

impl UserspaceBackend {
    /// A backend that serves nothing yet.
    pub(crate) fn new(family: IpFamily, relay: &Arc<Relay>, captures: bool) -> Result<Self, NetlinkError> {
        let captures = captures.then(|| Captures::begin(family)).transpose()?;
        let listeners = Listeners::new(family, Arc::clone(relay), captures)?;
        let unfinished = Arc::clone(&listeners.unfinished);
        let listeners = Arc::new(sync::Mutex::new(listeners));
        relay.handle.spawn(maintain(family, unfinished, Arc::downgrade(&listeners)));
        Ok(Self { family, listeners, is_applied: false })
    }

    fn failed(&self, action: &str, error: NetlinkError) -> BackendError {
        failed(&format!("{action} ({})", self.family), error)
    }
}

#[async_trait]
impl ProxyBackend for UserspaceBackend {
    fn mode(&self) -> ProxyMode {
        ProxyMode::USERSPACE
    }

    /// Listen addresses that fail, because another program has the port or the address is not local, are no error here:
    /// they are logged, counted and retried.
    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let is_full = changes.is_complete() || !self.is_applied;
        self.is_applied = false;
        let report = self.listeners.lock().await.apply(plan, changes, is_full).await;
        let report = report.map_err(|error| self.failed("update routes and rules", error))?;
        self.is_applied = true;
        Ok(ApplyReport { scope: if is_full { Scope::Full } else { Scope::Partial }, ..report })
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        let are_intact = self.listeners.lock().await.are_intact();
        are_intact.map_err(|error| self.failed("read routes and rules", error))
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        self.is_applied = false;
        let cleaned = self.listeners.lock().await.clean().await;
        cleaned.map_err(|error| self.failed("remove routes and rules", error))
    }
}

/// Applies changes of the node's addresses and retries what is unfinished, until the backend is dropped.
async fn maintain(family: IpFamily, unfinished: Arc<Notify>, listeners: Weak<sync::Mutex<Listeners>>) {
    let log_failure = |err: &io::Error| {
        warn!(ipFamily = %family, %err, "Failed to watch addresses; changes are noticed late");
    };
    let mut monitor = watch_addresses(family).inspect_err(log_failure).ok();
    let mut backoff = Backoff::new(FIRST_RETRY, MAX_RETRY, 1.0..1.0);
    let mut pause = MAX_RETRY;
    loop {
        let changed = async {
            match &monitor {
                Some(monitor) => addresses_changed(monitor).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = unfinished.notified() => {
                backoff.reset();
                pause = backoff.fail(0.0);
                continue;
            }
            changed = changed => if let Err(err) = changed {
                log_failure(&err);
                monitor = None;
            },
            () = tokio::time::sleep(pause) => {}
        }
        let Some(listeners) = listeners.upgrade() else { return };
        let mut listeners = listeners.lock().await;
        for outcome in
            [listeners.update_addresses().await, listeners.retry().await, listeners.release_drained()]
        {
            if let Err(error) = outcome {
                warn!(ipFamily = %family, err = error_chain(&error), "Failed to update listeners; retrying");
            }
        }
        pause = if listeners.is_unfinished() { backoff.fail(0.0) } else { MAX_RETRY };
    }
}

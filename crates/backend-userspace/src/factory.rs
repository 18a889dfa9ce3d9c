//! Makes userspace backends, and finds out whether this host lets it.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::backend::{CleanupReport, Metric, error_chain};
use portolan_core::node::NodePortSelection;
use portolan_core::{BackendError, BackendFactory, IpFamily, ProbeFailure, ProxyBackend, ProxyMode};

use crate::backend::UserspaceBackend;
use crate::capture::{Captures, is_not_permitted};
use crate::counters::Counters;
use crate::limits::Limits;
use crate::relay::{Relay, UdpTimeouts};

/// More threads than this are of no use to a relay that has other things to do on its node.
const MOST_THREADS: usize = 8;

/// How service addresses become this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addresses {
    /// By routes and routing rules of ours; that takes `CAP_NET_ADMIN`.
    #[default]
    Made,
    /// They are already, by somebody's `ip route add local 10.96.0.0/12 dev lo`.
    Prepared,
}

/// What a user may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How service addresses become this node's.
    pub addresses: Addresses,
    /// The most TCP connections and UDP clients at a time; as many as there are file descriptors for when zero.
    pub max_sessions: usize,
    /// The most of them that one Service may have with all its ports; when zero, as many as leave some to others.
    pub max_sessions_per_service: usize,
    /// How long a UDP client is remembered after its last datagram or the last answer to it.
    pub udp_timeout: Duration,
    /// The same for one that has sent a single datagram, unless [`udp_timeout`](Self::udp_timeout) is shorter.
    pub udp_single_timeout: Duration,
    /// How many threads relay; one for each processor, up to eight, when zero.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addresses: Addresses::default(),
            max_sessions: 0,
            max_sessions_per_service: 0,
            // As connection tracking has it: net.netfilter.nf_conntrack_udp_timeout_stream.
            udp_timeout: Duration::from_secs(120),
            // A name is resolved within this time or asked for anew: the default of resolvers is five
            // seconds and two attempts (resolv.conf(5)).
            udp_single_timeout: Duration::from_secs(10),
            threads: 0,
        }
    }
}

/// `--mode userspace`.
///
/// Both families share the threads that relay, and the limits.
#[derive(Debug)]
pub struct UserspaceFactory {
    options: Options,
    counters: Arc<Counters>,
    relay: Mutex<Option<Arc<Relay>>>,
}

impl UserspaceFactory {
    /// A factory that has not started anything yet.
    pub fn new(options: Options) -> Self {
        Self { options, counters: Arc::default(), relay: Mutex::new(None) }
    }

    /// What the backends are doing, for metrics.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    fn relay(&self) -> io::Result<Arc<Relay>> {
        let mut relay = self.relay.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(relay) = &*relay {
            return Ok(Arc::clone(relay));
        }
        let Options {
            addresses: _,
            max_sessions,
            max_sessions_per_service,
            udp_timeout,
            udp_single_timeout,
            threads,
        } = self.options;
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS),
            threads => threads,
        };
        let limits = Limits::new(self.counters(), max_sessions, max_sessions_per_service);
        let timeouts = UdpTimeouts { idle: udp_timeout, single: udp_single_timeout };
        Ok(Arc::clone(relay.insert(Relay::start(threads, limits, timeouts)?)))
    }
}

impl Default for UserspaceFactory {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

#[async_trait]
impl BackendFactory for UserspaceFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::USERSPACE
    }

    /// It forwards in the process, and ends with it.
    async fn is_forwarding(&self, _family: IpFamily) -> Result<bool, BackendError> {
        Ok(false)
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        let failure = |missing: String| ProbeFailure { mode: self.mode(), missing };
        if self.options.addresses == Addresses::Made {
            Captures::rehearse().map_err(|error| {
                let detail = error_chain(&error);
                failure(if is_not_permitted(error.errno()) {
                    format!("CAP_NET_ADMIN, to make service addresses this node's ({detail})")
                } else {
                    format!("local routes, to make service addresses this node's ({detail})")
                })
            })?;
        }
        rehearse_low_port().map_err(|error| {
            failure(format!("CAP_NET_BIND_SERVICE, to listen at ports below 1024 ({error})"))
        })
    }

    fn default_node_ports(&self) -> NodePortSelection {
        NodePortSelection::Cidrs(Vec::new())
    }

    /// Starts no relay for it.
    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        if running == Some(&ProxyMode::USERSPACE) {
            return CleanupReport::default();
        }
        if running.is_some() && self.probe().await.is_err() {
            return CleanupReport::default();
        }
        let removed = Captures::open(family).and_then(|mut captures| captures.remove_all());
        removed.map(drop).map_err(Box::from).map_err(failed("remove routes and rules")).into()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.counters.metrics()
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let relay = self.relay().map_err(Box::from).map_err(failed("start the threads that relay"))?;
        let makes_captures = self.options.addresses == Addresses::Made;
        let backend = UserspaceBackend::new(family, &relay, makes_captures)
            .map_err(Box::from)
            .map_err(failed("open a netlink socket for routes"))?;
        Ok(Box::new(backend))
    }
}

/// What to make of an error that ends an attempt to do this.
fn failed(action: &str) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> BackendError {
    let action = action.to_owned();
    move |source| BackendError::io(action, source)
}

/// Tries whether this process may listen at ports below 1024. That a program has the port is no matter: the
/// kernel asks for the privilege first.
fn rehearse_low_port() -> io::Result<()> {
    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    match TcpListener::bind(LOOPBACK) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

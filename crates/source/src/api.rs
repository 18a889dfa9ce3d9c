//! The Kubernetes API as a source.
//!
//! Four watches run side by side and never wait for one another: Services,
//! EndpointSlices, this node's Node and ServiceCIDRs.
//!
//! ```text
//!            ┌────────────── expired ───────────────┐
//!            ▼                                      │
//!   streamed list ─(refused)─▶ paged list ─▶ watch ─┤
//!            │                                ▲     │
//!            └──────── same connection ───────┘     └─ cut, silent, timed out: resume
//! ```
//!
//! Always holds: a complete list is passed on as one `Replaced`, and nothing of a
//! list that breaks off is; between lists every change is passed on exactly in the
//! server's order; no failure after the start ends a watch, it only waits longer
//! before it tries again. An object that cannot be read keeps the state it had.
//!
//! The loop is our own, over kube's client. kube's `watcher` never falls back when
//! a server cannot stream lists, loses a whole page to one malformed object, and
//! keeps a parsed page with all its metadata in memory; here a list is cut into
//! objects while it arrives, so that what is held is one raw object at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan_core::Event;
use portolan_core::event::{EndpointSlice, Node, Service, ServiceCidr};
use portolan_core::name::Interner;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::error;

use crate::client::ClientObserver;
use crate::error::SourceError;
use crate::metrics::SourceMetrics;
use crate::recorder::{Delivery, EventRecorder};
use crate::resource::Resource;

mod addresses;
mod agent;
pub(crate) mod backoff;
mod connect;
pub(crate) mod failure;
mod follow;
mod gather;
mod items;
mod limiter;
mod lines;
pub(crate) mod link;
mod list;
mod reader;
mod selection;
mod setback;
mod streamed;
mod tally;
pub(crate) mod telling;
#[cfg(test)]
mod tests;
mod token;
mod watch;

use addresses::Addresses;
use follow::Follower;
use link::Link;
use selection::Selection;

/// Where the API server is and who we are to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ApiServer {
    /// Path of a kubeconfig; its current context counts.
    pub kubeconfig: Option<PathBuf>,
    /// URL of the server, in place of the kubeconfig's. With neither, the
    /// configuration that Kubernetes gives every pod is used.
    pub master: Option<String>,
    /// Requests a second that we may send in the long run, watches aside. 0 stands for
    /// 5, less for no limit, as in Kubernetes' own clients.
    pub qps: f32,
    /// Requests that may be sent at once after a while of silence; 0 stands for 10.
    pub burst: u32,
    /// First part of the `User-Agent`, by which servers and their logs tell clients
    /// apart; `portolan` when empty.
    pub agent: String,
}

/// How patient a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Shortest time that a watch is asked to last; each lasts up to twice that, at
    /// random, so that a cluster's nodes do not come back all at once. 5 minutes, as
    /// in Kubernetes' own clients.
    pub watch: Duration,
    /// A watch without a byte for this long is taken for dead. Servers send a
    /// bookmark about every minute, so the default of 150 s spans two.
    pub silence: Duration,
    /// A request without an answer, or a list without a byte, for this long has failed.
    /// 60 s, after which API servers give a request up themselves (`--request-timeout`).
    pub answer: Duration,
    /// Wait before the second try after a failure; each further one doubles it. 0.5 s.
    pub first_retry: Duration,
    /// Longest wait between two tries; 30 s.
    pub last_retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(300),
            silence: Duration::from_secs(150),
            answer: Duration::from_secs(60),
            first_retry: Duration::from_millis(500),
            last_retry: Duration::from_secs(30),
        }
    }
}

/// Follows the objects of an API server.
#[derive(Debug)]
pub struct ApiSource {
    link: Link,
    node_name: String,
    reports: Arc<Delivery>,
    addresses: Addresses,
}

impl ApiSource {
    /// Prepares to follow `server` on behalf of the node of this name. Sends nothing yet.
    ///
    /// # Errors
    /// The kubeconfig, the pod's configuration or the credentials are missing or wrong.
    pub async fn new(
        server: &ApiServer,
        node_name: impl Into<String>,
        timing: Timing,
        observer: Arc<dyn ClientObserver>,
    ) -> Result<Self, SourceError> {
        let server = connect::connect(server).await?;
        let (metrics, addresses) = (Arc::new(SourceMetrics::default()), server.addresses.clone());
        let (link, node_name) = (Link::new(server, timing, metrics, observer), node_name.into());
        let reports = Arc::new(Delivery::new(link.clone(), &node_name));
        Ok(Self { link, node_name, reports, addresses })
    }

    /// What the source counts; live, also while it runs.
    pub fn metrics(&self) -> Arc<SourceMetrics> {
        Arc::clone(&self.link.metrics)
    }

    /// Where to report what is worth an Event. What was reported is sent while the source runs.
    pub fn events(&self) -> EventRecorder {
        EventRecorder::new(Arc::clone(&self.reports))
    }

    /// Sends all objects, then every change, until `shutdown` resolves or nobody listens.
    ///
    /// Waits for ever for a server that cannot be reached or turns us away. The first try
    /// that fails is a line in the log, and so is the end of it; what comes between is
    /// told ever more rarely. Sends what [`Self::events`] is told, too.
    pub async fn run(self, events: mpsc::Sender<Event>, shutdown: impl Future<Output = ()> + Send) {
        let names = Arc::new(Mutex::new(Interner::default()));
        let mut watches = JoinSet::new();
        watches.spawn(self.addresses.tell(events.clone()));
        let mut follow = Start { link: self.link, names, events: events.clone(), watches: &mut watches };
        follow.kind::<Node>(Selection::node(&self.node_name));
        follow.kind::<Service>(Selection::services());
        follow.kind::<EndpointSlice>(Selection::endpoint_slices());
        follow.kind::<ServiceCidr>(Selection::everything());
        drop(follow);
        watches.spawn(self.reports.run());
        tokio::select! {
            () = shutdown => {}
            () = events.closed() => {}
            // A watch ends only when nobody listens, which is the same for all of them.
            ended = watches.join_next() => if let Some(Err(crash)) = ended {
                error!(%crash, "a watch crashed; giving up all of them");
            },
        }
    }
}

/// What all watches of one source share.
struct Start<'a> {
    link: Link,
    names: Arc<Mutex<Interner>>,
    events: mpsc::Sender<Event>,
    watches: &'a mut JoinSet<()>,
}

impl Start<'_> {
    fn kind<T: Resource>(&mut self, selection: Selection) {
        let follower =
            Follower::<T>::new(self.link.clone(), selection, Arc::clone(&self.names), self.events.clone());
        self.watches.spawn(follower.run());
    }
}

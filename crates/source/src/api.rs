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

mod access;
mod addresses;
mod agent;
pub(crate) mod backoff;
mod connect;
mod credentials;
mod dial;
pub(crate) mod failure;
mod follow;
mod gather;
mod items;
mod limiter;
mod lines;
pub(crate) mod link;
mod list;
mod plugin;
pub(crate) mod presence;
mod proxy;
mod reader;
mod resolve;
mod selection;
mod setback;
mod streamed;
mod tally;
pub(crate) mod telling;
#[cfg(test)]
mod tests;
mod watch;

use follow::{Follower, Streaming};
use link::Link;
use presence::{Contact, Presence};
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
    /// Never asks for streamed lists (KEP-3157), but for pages.
    pub paged_lists: bool,
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
    /// A streamed list without a byte for this long is given up for one in pages: some proxies hold it back, or do not
    /// let its end through. 10 s.
    pub streamed_list: Duration,
    /// A request without an answer, or a list without a byte, for this long has failed.
    /// 60 s, after which API servers give a request up themselves (`--request-timeout`).
    pub answer: Duration,
    /// Wait before the second try after a failure; each further one doubles it. 0.5 s.
    pub first_retry: Duration,
    /// Longest wait between two tries; 30 s.
    pub last_retry: Duration,
    /// How often to look for renewed credentials while nothing is asked for; 5 s. Before each request they
    /// are looked for as well.
    pub credentials: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(300),
            silence: Duration::from_secs(150),
            streamed_list: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            first_retry: Duration::from_millis(500),
            last_retry: Duration::from_secs(30),
            credentials: Duration::from_secs(5),
        }
    }
}

/// Follows the objects of an API server.
#[derive(Debug)]
pub struct ApiSource {
    link: Link,
    node_name: String,
    reports: Arc<Delivery>,
    presence: Arc<Presence>,
    streaming: Streaming,
}

impl ApiSource {
    /// Prepares to follow `server` on behalf of the node of this name. Sends nothing yet, and runs no
    /// credential plugin: one that fails is run again, whatever becomes of the start.
    ///
    /// # Errors
    /// The kubeconfig, the pod's configuration or the credentials are missing or wrong.
    #[expect(clippy::unused_async, reason = "a client belongs to a runtime, which this makes sure of")]
    pub async fn new(
        server: &ApiServer,
        node_name: impl Into<String>,
        timing: Timing,
        observer: Arc<dyn ClientObserver>,
    ) -> Result<Self, SourceError> {
        let streaming = if server.paged_lists { Streaming::Never } else { Streaming::Try };
        let server = connect::connect(server, timing.answer)?;
        let link = Link::new(server, timing, Arc::new(SourceMetrics::default()), observer);
        Ok(Self::over(link, node_name.into(), streaming))
    }

    fn over(link: Link, node_name: String, streaming: Streaming) -> Self {
        let presence = Arc::new(Presence::default());
        let reports = Arc::new(Delivery::new(link.clone(), &node_name, Arc::clone(&presence)));
        Self { link, node_name, reports, presence, streaming }
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
        let credentials = self.link.clone().follow_credentials();
        watches.spawn(self.link.addresses().tell(events.clone()));
        let mut follow = Start {
            link: self.link,
            presence: self.presence,
            streaming: self.streaming,
            names,
            events: events.clone(),
            watches: &mut watches,
        };
        follow.kind::<Node>(Selection::node(&self.node_name));
        follow.kind::<Service>(Selection::services());
        follow.kind::<EndpointSlice>(Selection::endpoint_slices());
        follow.kind::<ServiceCidr>(Selection::everything());
        drop(follow);
        watches.spawn(self.reports.run());
        watches.spawn(credentials);
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
    presence: Arc<Presence>,
    streaming: Streaming,
    names: Arc<Mutex<Interner>>,
    events: mpsc::Sender<Event>,
    watches: &'a mut JoinSet<()>,
}

impl Start<'_> {
    fn kind<T: Resource>(&mut self, selection: Selection) {
        let contact = Contact::new(Arc::clone(&self.presence), self.link.timing);
        let follower = Follower::<T>::new(
            self.link.clone(),
            selection,
            Arc::clone(&self.names),
            self.events.clone(),
            contact,
            self.streaming,
        );
        self.watches.spawn(follower.run());
    }
}

//! The Kubernetes API as a source.
//!
//! Four reflectors run side by side and do not wait for one another: Services, EndpointSlices, this node's Node and
//! ServiceCIDRs.
//!
//! ```text
//!            ┌─────────────── expired ───────────────┐
//!            ▼                                       │
//!   streamed list ─(rejected)─▶ paged list ─▶ watch ─┤
//!            │                                 ▲     │
//!            └──────── same connection ────────┘     └─ cut, silent, timed out: resume
//! ```
//!
//! Invariants: a complete list is passed on as one `Replaced`, and nothing of a list that breaks off is; between lists
//! every change is passed on exactly in the server's order; no failure after the start ends a watch, it only delays the
//! next attempt; a malformed object keeps its last good version.
//!
//! `reflector` drives lists and watches, with `list` and, for failures, `error_policy`; `decode` is the only part that
//! depends on the encoding of objects. `client` sends requests over the connections that `connect`, `access` and
//! `credentials` prepare. Why this is not kube's `watcher`: decision 7.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::event::{EndpointSlice, Node, Service, ServiceCidr};
use portolan_core::{Backoff, Event};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::error;

use crate::error::SourceError;
use crate::metrics::SourceMetrics;
use crate::recorder::{Delivery, EventRecorder};

mod access;
pub(crate) mod availability;
pub(crate) mod client;
mod connect;
mod credentials;
mod decode;
mod dial;
mod error_policy;
pub(crate) mod failure;
mod limiter;
mod list;
mod list_buffer;
mod observer;
mod plugin;
mod proxy;
mod query;
mod reflector;
mod resolve;
#[cfg(test)]
mod tests;

use availability::Availability;
use client::ApiClient;
pub use observer::{Answered, ClientObserver};
use query::Selector;
use reflector::{Context, Reflector, StreamedLists};

/// Where the API server is, and how to send requests to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ApiServer {
    /// Path of a kubeconfig; its current context is used.
    pub kubeconfig: Option<PathBuf>,
    /// URL of the server, in place of the kubeconfig's. With neither, the
    /// configuration that Kubernetes gives every pod is used.
    pub master: Option<String>,
    /// Requests a second in the long run, without watches. 0 means 5 and a negative value no limit, as in Kubernetes'
    /// own clients.
    pub qps: f32,
    /// Requests that may be sent at once after a pause; 0 means 10.
    pub burst: u32,
    /// Never requests streamed lists (KEP-3157), but pages.
    pub paged_lists: bool,
    /// First part of the `User-Agent`, by which servers and their logs distinguish clients; `portolan` when empty.
    pub agent: String,
}

/// Intervals and time limits of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Shortest requested duration of a watch; each lasts up to twice that, at random, so that the nodes of a cluster
    /// do not resume all at once. 5 minutes, as in Kubernetes' own clients.
    pub watch: Duration,
    /// A watch without data for this long is considered dead. Servers send a bookmark about every minute, so the
    /// default of 150 s spans two.
    pub silence: Duration,
    /// A streamed list without data for this long is replaced by one in pages: some proxies hold it back, or do not
    /// pass its end on. 10 s.
    pub streamed_list: Duration,
    /// A request without an answer, or a list without data, for this long has failed. 60 s, the time limit of API
    /// servers (`--request-timeout`).
    pub answer: Duration,
    /// Wait before the second attempt after a failure; each further one doubles it. 0.5 s.
    pub first_retry: Duration,
    /// Longest wait between two attempts; 30 s.
    pub last_retry: Duration,
    /// How often to check for renewed credentials without a request; 5 s. They are checked before each request as well.
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

impl Timing {
    /// Waits between attempts, of which half is random.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.first_retry, self.last_retry, 0.5..1.0)
    }
}

/// Follows the objects of an API server.
#[derive(Debug)]
pub struct ApiSource {
    client: ApiClient,
    node_name: String,
    reports: Arc<Delivery>,
    availability: Arc<Availability>,
    streamed_lists: StreamedLists,
}

impl ApiSource {
    /// Prepares to follow `server` for the node of this name. Sends nothing yet, and runs no credential plugin.
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
        let streamed_lists =
            if server.paged_lists { StreamedLists::Disabled } else { StreamedLists::Enabled };
        Ok(Self::over(connect::connect(server, timing, observer)?, node_name.into(), streamed_lists))
    }

    fn over(client: ApiClient, node_name: String, streamed_lists: StreamedLists) -> Self {
        let availability = Arc::new(Availability::default());
        let reports = Arc::new(Delivery::new(client.clone(), &node_name, Arc::clone(&availability)));
        Self { client, node_name, reports, availability, streamed_lists }
    }

    /// The counters of the source; live, also while it runs.
    pub fn metrics(&self) -> Arc<SourceMetrics> {
        Arc::clone(&self.client.metrics)
    }

    /// Takes reports for Kubernetes Events. They are sent while the source runs.
    pub fn events(&self) -> EventRecorder {
        EventRecorder::new(Arc::clone(&self.reports))
    }

    /// Sends all objects, then every change, until `shutdown` resolves or the receiver of events is closed. Sends what
    /// is reported to [`Self::events`], too.
    ///
    /// Waits for ever for a server that cannot be reached or rejects the requests. The log has the first failed
    /// attempt and the end of the failures; attempts in between are logged at growing intervals.
    pub async fn run(self, events: mpsc::Sender<Event>, shutdown: impl Future<Output = ()> + Send) {
        let credentials = self.client.clone().check_credentials();
        let mut tasks = JoinSet::new();
        tasks.spawn(self.client.access.addresses.clone().send_changes(events.clone()));
        let context = Context {
            client: self.client,
            availability: self.availability,
            names: Arc::default(),
            events: events.clone(),
            streamed_lists: self.streamed_lists,
        };
        tasks.spawn(Reflector::<Node>::new(&context, Selector::node(&self.node_name)).run());
        tasks.spawn(Reflector::<Service>::new(&context, Selector::services()).run());
        tasks.spawn(Reflector::<EndpointSlice>::new(&context, Selector::endpoint_slices()).run());
        tasks.spawn(Reflector::<ServiceCidr>::new(&context, Selector::default()).run());
        drop(context);
        tasks.spawn(self.reports.run());
        tasks.spawn(credentials);
        tokio::select! {
            () = shutdown => {}
            () = events.closed() => {}
            // A task ends only when the receiver of events is closed, which is the same for all of them.
            ended = tasks.join_next() => if let Some(Err(crash)) = ended {
                error!(err = %crash, "A task of the API source crashed; ending all of them");
            },
        }
    }
}

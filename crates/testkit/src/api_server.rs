//! A Kubernetes API server in this process, with switches for everything that goes wrong with one.
//!
//! It serves what a proxy uses: list in pages, watch, streamed lists, bookmarks and
//! selectors over Services, EndpointSlices, Nodes and ServiceCIDRs, single objects,
//! and it takes Events, checked as a real server checks them. Objects are stored as they will be sent, so that tens of
//! thousands cost no more than their bytes.
//!
//! Always holds: a test that changes nothing but objects sees a correct server;
//! every fault is asked for, and ends when the test says so.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use portolan_testkit::api_server::ApiServer;
//! use serde_json::json;
//!
//! let server = ApiServer::start().await?;
//! server.apply(json!({"kind": "Node", "metadata": {"name": "n1"}}));
//! println!("a kubeconfig for it: {}", server.kubeconfig_file().display());
//! server.wait_for_watchers(&["nodes"]).await;
//! server.cut_connections().await;
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod connection;
mod events;
mod faults;
mod list;
mod query;
mod respond;
mod role;
mod selector;
mod status;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use connection::InMemory;
pub use faults::{Refusal, StreamedLists, WatchFault};
pub use query::{Verb, WatchedRequest as Request};
pub use tls::ClientCertificate;

use events::Events;
use faults::Faults;
use store::Store;
use tls::Tls;

/// A running API server; it stops when dropped.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    kubeconfig: NamedTempFile,
    accepting: JoinHandle<()>,
}

/// What all connections of a server look at.
#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    /// Version of the newest entry of the store's log; wakes watches.
    newest: watch::Sender<u64>,
    faults: Faults,
    tls: Option<Tls>,
    requests: Mutex<Vec<Request>>,
    /// Requests that were rejected because of missing rights.
    forbidden: Mutex<Vec<Request>>,
    events: Events,
    /// Connections that are open, by the client whose certificate they showed.
    connected: watch::Sender<HashMap<String, usize>>,
    /// Watches that are past their initial events, by resource.
    watchers: watch::Sender<HashMap<&'static str, usize>>,
}

/// A test that panicked while it held a lock has failed already; others may go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ApiServer {
    /// Starts a server without objects on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no free port, or no place for the kubeconfig.
    pub async fn start() -> io::Result<Self> {
        Self::start_as(None).await
    }

    /// The same over TLS, with certificates of its own authority. The kubeconfig
    /// names the authority's file.
    ///
    /// # Errors
    /// As for [`Self::start`], or there can be no certificates.
    pub async fn start_with_tls() -> io::Result<Self> {
        Self::start_as(Some(Tls::new()?)).await
    }

    async fn start_as(tls: Option<Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            store: Mutex::default(),
            newest: watch::Sender::new(0),
            faults: Faults::default(),
            tls,
            requests: Mutex::default(),
            forbidden: Mutex::default(),
            events: Events::default(),
            connected: watch::Sender::new(HashMap::new()),
            watchers: watch::Sender::new(HashMap::new()),
        });
        let mut kubeconfig = tempfile::Builder::new().prefix("kubeconfig-").tempfile()?;
        kubeconfig.write_all(shared.kubeconfig(address).as_bytes())?;
        let accepting = tokio::spawn(connection::accept(listener, address, Arc::clone(&shared)));
        Ok(Self { shared, address, kubeconfig, accepting })
    }

    /// Changes to certificates of another authority. Its file is written anew;
    /// connections that there are go on.
    ///
    /// # Errors
    /// The file cannot be written, or the server has no TLS.
    pub fn renew_certificates(&self) -> io::Result<()> {
        self.shared.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?.renew()
    }

    /// URL of the server.
    pub fn url(&self) -> String {
        self.shared.url(self.address)
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig that leads to the server.
    pub fn kubeconfig_file(&self) -> &Path {
        self.kubeconfig.path()
    }

    /// Creates or replaces an object, which may be as malformed as the test wants:
    /// only `kind` and `metadata.name` must be right. Returns its version, or nothing
    /// when the kind is none that this server has.
    pub fn apply(&self, object: Value) -> Option<u64> {
        let version = lock(&self.shared.store).apply(object)?;
        self.shared.newest.send_replace(version);
        Some(version)
    }

    /// Applies every object of `objects`; the first listener hears of them together.
    pub fn apply_all(&self, objects: impl IntoIterator<Item = Value>) {
        let mut store = lock(&self.shared.store);
        let newest = objects.into_iter().filter_map(|object| store.apply(object)).last();
        drop(store);
        if let Some(version) = newest {
            self.shared.newest.send_replace(version);
        }
    }

    /// Deletes an object; false when there is none. Objects without a namespace have `""`.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let version = lock(&self.shared.store).delete(kind, namespace, name);
        if let Some(version) = version {
            self.shared.newest.send_replace(version);
        }
        version.is_some()
    }

    /// All objects of a kind, as stored.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        lock(&self.shared.store).objects(kind)
    }

    /// Sends `line` to all watches of a resource unchanged, without an additional newline.
    pub fn inject(&self, resource: &str, line: &str) {
        let version = lock(&self.shared.store).inject(resource, line);
        self.shared.newest.send_replace(version);
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests of this kind came.
    pub fn count(&self, verb: Verb, resource: &str) -> usize {
        lock(&self.shared.requests)
            .iter()
            .filter(|request| request.verb == verb && request.resource == resource)
            .count()
    }

    /// Waits until each of these resources is watched by a client that has its initial events.
    pub async fn wait_for_watchers(&self, resources: &[&str]) {
        let mut watchers = self.shared.watchers.subscribe();
        let all = |known: &HashMap<&'static str, usize>| {
            resources.iter().all(|resource| known.get(resource).is_some_and(|count| *count > 0))
        };
        // The sender lives as long as the server that this borrows.
        let _ = watchers.wait_for(all).await;
    }

    /// Waits until no connection is open that showed the certificate of this client.
    pub async fn wait_for_disconnect(&self, client: &str) {
        let gone = |connected: &HashMap<String, usize>| connected.get(client).is_none_or(|count| *count == 0);
        // The sender lives as long as the server that this borrows.
        let _ = self.shared.connected.subscribe().wait_for(gone).await;
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.faults.begin_cut();
    }
}

impl Shared {
    fn url(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.tls.is_some() { "https" } else { "http" })
    }

    fn kubeconfig(&self, address: SocketAddr) -> String {
        let (url, authority) =
            (self.url(address), self.tls.as_ref().map(Tls::kubeconfig).unwrap_or_default());
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: test\n  cluster: {{server: \"{url}\"{authority}}}\n\
             contexts:\n- name: test\n  context: {{cluster: test, user: test}}\n\
             users:\n- name: test\n  user: {{token: secret}}\n"
        )
    }
}

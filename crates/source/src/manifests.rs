//! A folder of manifests as a source: what `kubectl apply` would take, without a cluster.
//!
//! Always holds: what is in force is the last good content of each file; a broken
//! file costs one error and changes nothing, not even for its neighbours. Of two
//! files that define the same object the first by name counts. The folder may
//! vanish and come back; until then everything stays as it was.
//!
//! A new process has no last content. As long as some file or object has never been
//! readable, nothing is sent and the kernel keeps what an earlier process wrote,
//! unless it holds nothing of one: see [`ManifestSource::keeping`].
//!
//! inotify tells when to look, and looking compares file stamps, so a lost or
//! needless notification does no harm; a slow rescan catches what inotify cannot
//! see, such as a write through a symlink that leads out of the folder. A file
//! someone is still writing to is left alone until it is closed or at rest,
//! because half a manifest is often a valid one with fewer objects.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::Event;
use portolan_core::name::Name;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::error::SourceError;
use crate::metrics::{Count, SourceMetrics};

mod contents;
mod document;
mod folder;
mod merge;
mod pending;
#[cfg(test)]
mod tests;
mod watch;

use folder::{Folder, Scan, Wanted};
use pending::Pending;
use watch::FolderWatch;

/// How often the whole folder is looked at without a reason.
const RESCAN: Duration = Duration::from_secs(30);

/// The same while the folder is missing or cannot be watched, or something in it has never been readable.
const RESCAN_BLIND: Duration = Duration::from_secs(1);

/// Tells whether the kernel has rules of an earlier process.
type Earlier = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Is told what of the folder has never been readable.
type Unread = Box<dyn Fn(&[String]) + Send>;

/// Reads Services, EndpointSlices, Endpoints, the Node and `ServiceCIDR`s from a folder.
pub struct ManifestSource {
    dir: PathBuf,
    node_name: Name,
    rescan: Duration,
    metrics: Arc<SourceMetrics>,
    earlier: Earlier,
    unread: Unread,
}

impl ManifestSource {
    /// A source over the `*.yaml`, `*.yml` and `*.json` files of `dir`, for the node of this name.
    pub fn new(dir: impl Into<PathBuf>, node_name: impl Into<Name>) -> Self {
        Self {
            dir: dir.into(),
            node_name: node_name.into(),
            rescan: RESCAN,
            metrics: Arc::default(),
            earlier: Box::pin(std::future::ready(true)),
            unread: Box::new(|_| ()),
        }
    }

    /// Looks at the whole folder this often even when nothing seems to have changed; 30 s by default.
    #[must_use]
    pub fn rescan_every(mut self, period: Duration) -> Self {
        self.rescan = period;
        self
    }

    /// `earlier` tells whether rules of an earlier process are in effect; without it they are taken to be.
    ///
    /// It is awaited if something cannot be read at the start, and then once. If there are such rules, nothing is sent
    /// until everything can be read: a list that leaves something out would take it down. If there are none, what can
    /// be read is sent, as nothing else can be lost.
    #[must_use]
    pub fn keeping(mut self, earlier: impl Future<Output = bool> + Send + 'static) -> Self {
        self.earlier = Box::pin(earlier);
        self
    }

    /// `unread` is told, until everything has been read once, what has not: file, document, line and reason of each.
    /// Empty from then on, when it is told for the last time.
    #[must_use]
    pub fn telling(mut self, unread: impl Fn(&[String]) + Send + 'static) -> Self {
        self.unread = Box::new(unread);
        self
    }

    /// What the source counts; live, also while it runs.
    pub fn metrics(&self) -> Arc<SourceMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Sends the folder's objects, then every change, until `shutdown` resolves or nobody listens.
    ///
    /// # Errors
    /// The folder cannot be read at the start. Later it may vanish without an error.
    pub async fn run(
        self,
        events: mpsc::Sender<Event>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), SourceError> {
        let listener = events.clone();
        tokio::select! {
            () = shutdown => Ok(()),
            () = listener.closed() => Ok(()),
            result = self.follow(events) => result,
        }
    }

    async fn follow(self, events: mpsc::Sender<Event>) -> Result<(), SourceError> {
        let Self { dir, node_name, rescan, metrics, earlier, unread } = self;
        let mut watch = FolderWatch::new(&dir);
        watch.arm();
        let mut folder = Folder::new(dir.clone(), node_name, Arc::clone(&metrics));
        let mut first;
        (folder, first) = scan(folder, Pending::everything(), Wanted::Everything).await;
        if first.as_ref().is_ok_and(|scan| !scan.unread.is_empty()) && !earlier.await {
            warn!(folder = %dir.display(), "No earlier rules are in effect; serving the manifests that can be read");
            (folder, first) = scan(folder, Pending::everything(), Wanted::WhatCanBeRead).await;
        }
        let first = first.map_err(|source| SourceError::ManifestFolder { path: dir.clone(), source })?;
        let mut start = Start::new(&dir, unread);
        start.note(&first);
        if !send(&events, first.events, &metrics).await {
            return Ok(());
        }
        let mut sight = Sight::Clear;
        loop {
            let blind = sight == Sight::Lost || !watch.is_armed() || start.is_waiting();
            let pause = if blind { rescan.min(RESCAN_BLIND) } else { rescan };
            let mut pending = watch.wait(Instant::now() + pause).await;
            if watch.arm() {
                // A folder that is new to us may have been filled before we watched it.
                pending = Pending::everything();
            }
            let result;
            (folder, result) = scan(folder, pending, Wanted::Everything).await;
            sight.note(&dir, result.as_ref().err());
            if let Ok(scan) = result {
                start.note(&scan);
                if !send(&events, scan.events, &metrics).await {
                    return Ok(());
                }
            }
        }
    }
}

/// Looks at the folder on a thread that may block.
async fn scan(mut folder: Folder, pending: Pending, wanted: Wanted) -> (Folder, io::Result<Scan>) {
    let dir = folder.dir().to_owned();
    let (name, metrics) = folder.identity();
    let task = tokio::task::spawn_blocking(move || {
        let result = folder.scan(&pending, wanted);
        (folder, result)
    });
    task.await.unwrap_or_else(|crash| {
        error!(folder = %dir.display(), %crash, "reading the manifest folder crashed; starting over");
        (Folder::new(dir, name, metrics), Err(io::Error::other(crash)))
    })
}

/// Passes changes on; false when nobody listens any more.
async fn send(events: &mpsc::Sender<Event>, changes: Vec<Event>, metrics: &SourceMetrics) -> bool {
    metrics.add(Count::Events, changes.len());
    for change in changes {
        if events.send(change).await.is_err() {
            return false;
        }
    }
    true
}

/// The time until everything in the folder has been read once.
struct Start<'a> {
    dir: &'a Path,
    unread: Option<Unread>,
    /// What was told last.
    told: Vec<String>,
    is_sent: bool,
}

impl<'a> Start<'a> {
    fn new(dir: &'a Path, unread: Unread) -> Self {
        Self { dir, unread: Some(unread), told: Vec::new(), is_sent: false }
    }

    /// Whether something has never been read.
    fn is_waiting(&self) -> bool {
        self.unread.is_some()
    }

    /// Takes in what a look at the folder gave, and tells what has become different.
    fn note(&mut self, scan: &Scan) {
        let Some(tell) = &self.unread else { return };
        self.is_sent |= !scan.events.is_empty();
        let folder = self.dir.display();
        if self.told != scan.unread {
            tell(&scan.unread);
            self.told.clone_from(&scan.unread);
            match scan.unread.first() {
                None => info!(%folder, "All manifests can be read"),
                Some(_) if self.is_sent => {}
                Some(first) => error!(
                    %folder, unreadable = scan.unread.len(), first,
                    "Initial sync waits for manifests that cannot be read; existing rules remain in effect"
                ),
            }
        }
        if scan.unread.is_empty() {
            self.unread = None;
        }
    }
}

/// Whether the folder could be read when last tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Clear,
    Lost,
}

impl Sight {
    /// Takes in the outcome of a scan; only a change is worth a line.
    fn note(&mut self, dir: &Path, failure: Option<&io::Error>) {
        match (*self, failure) {
            (Self::Clear, Some(error)) => {
                error!(folder = %dir.display(), %error, "cannot read the manifest folder; its last content stays in force");
                *self = Self::Lost;
            }
            (Self::Lost, None) => {
                info!(folder = %dir.display(), "the manifest folder is back");
                *self = Self::Clear;
            }
            (Self::Clear, None) | (Self::Lost, Some(_)) => {}
        }
    }
}

//! A folder of manifests as a source: the input of `kubectl apply`, without a cluster.
//!
//! Invariants: the last good content of each file is in effect; a broken file is one error and changes nothing, not
//! even for other files; of two files that define the same object the first by name is used. The folder may vanish and
//! return; until then everything stays as it was.
//!
//! A new process has no last content. As long as a file or an object has never been readable, nothing is sent and the
//! kernel keeps the rules of an earlier process, unless there are none: see [`ManifestSource::with_earlier_rules`].
//!
//! inotify says when to read, and reading compares file stamps, so a lost or needless notification does no harm; a slow
//! periodic scan finds what inotify does not show. A file that is being written is not read until it is closed or has
//! not changed for a while, because half a manifest is often a valid one with fewer objects.

use std::ffi::OsStr;
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
use crate::folder_watch::{Changes, FolderWatch};
use crate::metrics::{Count, SourceMetrics};

mod contents;
mod document;
mod folder;
mod merge;
#[cfg(test)]
mod tests;

use document::Syntax;
use folder::{Folder, Scan, Wanted};

/// How often the whole folder is read without a notification.
const RESCAN: Duration = Duration::from_secs(30);

/// The same while the folder is missing or cannot be watched, or something in it has never been readable.
const RESCAN_SOON: Duration = Duration::from_secs(1);

/// Resolves to whether the kernel has rules of an earlier process.
type Earlier = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Receives the files and objects that have never been readable.
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

    /// Reads the whole folder this often even without a notification; 30 s by default.
    #[must_use]
    pub fn rescan_every(mut self, period: Duration) -> Self {
        self.rescan = period;
        self
    }

    /// `earlier` resolves to whether rules of an earlier process are in effect, which is the default.
    ///
    /// It is awaited once, if something cannot be read at the start. If there are such rules, nothing is sent until
    /// everything can be read: a list that leaves something out would remove it. If there are none, what can be read is
    /// sent, as nothing can be lost.
    #[must_use]
    pub fn with_earlier_rules(mut self, earlier: impl Future<Output = bool> + Send + 'static) -> Self {
        self.earlier = Box::pin(earlier);
        self
    }

    /// Until everything has been read once, `unread` is called with what has not: file, document, line and reason of
    /// each. The last call, when everything has been read, has an empty list.
    #[must_use]
    pub fn with_unread_report(mut self, unread: impl Fn(&[String]) + Send + 'static) -> Self {
        self.unread = Box::new(unread);
        self
    }

    /// The counters of the source; live, also while it runs.
    pub fn metrics(&self) -> Arc<SourceMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Sends the folder's objects, then every change, until `shutdown` resolves or the receiver of events is closed.
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
        let mut watch = FolderWatch::new(&dir, is_manifest);
        watch.arm();
        let mut folder = Folder::new(dir.clone(), node_name, Arc::clone(&metrics));
        let mut first = scan(&mut folder, Changes::all(), Wanted::Everything).await;
        if first.as_ref().is_ok_and(|scan| !scan.unread.is_empty()) && !earlier.await {
            warn!(folder = %dir.display(), "No earlier rules are in effect; serving the manifests that can be read");
            first = scan(&mut folder, Changes::all(), Wanted::WhatCanBeRead).await;
        }
        let first = first.map_err(|error| {
            SourceError::new(format!("cannot read the manifest folder {}", dir.display())).because(error)
        })?;
        let mut start = InitialRead::new(&dir, unread);
        start.note(&first);
        if !send(&events, first.events, &metrics).await {
            return Ok(());
        }
        let mut is_missing = false;
        loop {
            let is_soon = is_missing || !watch.is_armed() || start.is_waiting();
            let pause = if is_soon { rescan.min(RESCAN_SOON) } else { rescan };
            let mut changes = watch.wait(Instant::now() + pause).await;
            if watch.arm() {
                // Another folder may have been filled before it was watched.
                changes = Changes::all();
            }
            let result = scan(&mut folder, changes, Wanted::Everything).await;
            let was_missing = std::mem::replace(&mut is_missing, result.is_err());
            match result {
                Ok(scan) => {
                    if was_missing {
                        info!(folder = %dir.display(), "Manifest folder can be read again");
                    }
                    start.note(&scan);
                    if !send(&events, scan.events, &metrics).await {
                        return Ok(());
                    }
                }
                Err(error) if !was_missing => {
                    error!(folder = %dir.display(), err = %error, "Cannot read the manifest folder; its last good content remains in effect");
                }
                Err(_) => {}
            }
        }
    }
}

/// Whether a file of this name is a manifest.
fn is_manifest(name: &OsStr) -> bool {
    name.to_str().and_then(Syntax::of).is_some()
}

/// Reads the folder on a thread that may block. If that crashes, the next call starts from the beginning.
async fn scan(folder: &mut Folder, changes: Changes, wanted: Wanted) -> io::Result<Scan> {
    let unread = folder.unread_copy();
    let mut taken = std::mem::replace(folder, unread);
    let task = tokio::task::spawn_blocking(move || {
        let result = taken.scan(&changes, wanted);
        (taken, result)
    });
    let (scanned, result) = task.await.map_err(io::Error::other)?;
    *folder = scanned;
    result
}

/// Sends events. Returns false when the receiver is closed.
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
struct InitialRead<'a> {
    dir: &'a Path,
    unread: Option<Unread>,
    /// The last report.
    reported: Vec<String>,
    is_sent: bool,
}

impl<'a> InitialRead<'a> {
    fn new(dir: &'a Path, unread: Unread) -> Self {
        Self { dir, unread: Some(unread), reported: Vec::new(), is_sent: false }
    }

    /// Whether something has never been read.
    fn is_waiting(&self) -> bool {
        self.unread.is_some()
    }

    /// Reports changes in what has never been readable.
    fn note(&mut self, scan: &Scan) {
        let Some(report) = &self.unread else { return };
        self.is_sent |= !scan.events.is_empty();
        let folder = self.dir.display();
        if self.reported != scan.unread {
            report(&scan.unread);
            self.reported.clone_from(&scan.unread);
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

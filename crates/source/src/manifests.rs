//! A folder of manifests as a source: what `kubectl apply` would take, without a cluster.
//!
//! Always holds: what is in force is the last good content of each file; a broken
//! file costs one error and changes nothing, not even for its neighbours. Of two
//! files that define the same object the first by name counts. The folder may
//! vanish and come back; until then everything stays as it was.
//!
//! inotify tells when to look, and looking compares file stamps, so a lost or
//! needless notification does no harm; a slow rescan catches what inotify cannot
//! see, such as a write through a symlink that leads out of the folder. A file
//! someone is still writing to is left alone until it is closed or at rest,
//! because half a manifest is often a valid one with fewer objects.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::Event;
use portolan_core::name::Name;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info};

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

use folder::Folder;
use pending::Pending;
use watch::FolderWatch;

/// How often the whole folder is looked at without a reason.
const RESCAN: Duration = Duration::from_secs(30);

/// The same while the folder is missing or cannot be watched.
const RESCAN_BLIND: Duration = Duration::from_secs(1);

/// Reads Services, EndpointSlices, Endpoints, the Node and `ServiceCIDR`s from a folder.
#[derive(Debug)]
pub struct ManifestSource {
    dir: PathBuf,
    node_name: Name,
    rescan: Duration,
    metrics: Arc<SourceMetrics>,
}

impl ManifestSource {
    /// A source over the `*.yaml`, `*.yml` and `*.json` files of `dir`, for the node of this name.
    pub fn new(dir: impl Into<PathBuf>, node_name: impl Into<Name>) -> Self {
        Self { dir: dir.into(), node_name: node_name.into(), rescan: RESCAN, metrics: Arc::default() }
    }

    /// Looks at the whole folder this often even when nothing seems to have changed; 30 s by default.
    #[must_use]
    pub fn rescan_every(mut self, period: Duration) -> Self {
        self.rescan = period;
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
        let Self { dir, node_name, rescan, metrics } = self;
        let mut watch = FolderWatch::new(&dir);
        watch.arm();
        let folder = Folder::new(dir.clone(), node_name, Arc::clone(&metrics));
        let (mut folder, first) = scan(folder, Pending::everything()).await;
        let first = first.map_err(|source| SourceError::ManifestFolder { path: dir.clone(), source })?;
        if !send(&events, first, &metrics).await {
            return Ok(());
        }
        let mut sight = Sight::Clear;
        loop {
            let blind = sight == Sight::Lost || !watch.is_armed();
            let pause = if blind { rescan.min(RESCAN_BLIND) } else { rescan };
            let mut pending = watch.wait(Instant::now() + pause).await;
            if watch.arm() {
                // A folder that is new to us may have been filled before we watched it.
                pending = Pending::everything();
            }
            let result;
            (folder, result) = scan(folder, pending).await;
            sight.note(&dir, result.as_ref().err());
            if let Ok(changes) = result
                && !send(&events, changes, &metrics).await
            {
                return Ok(());
            }
        }
    }
}

/// Looks at the folder on a thread that may block.
async fn scan(mut folder: Folder, pending: Pending) -> (Folder, io::Result<Vec<Event>>) {
    let dir = folder.dir().to_owned();
    let (name, metrics) = folder.identity();
    let task = tokio::task::spawn_blocking(move || {
        let result = folder.scan(&pending);
        (folder, result)
    });
    task.await.unwrap_or_else(|crash| {
        error!(folder = %dir.display(), %crash, "reading the manifest folder crashed; starting over");
        (Folder::new(dir, name, metrics), Ok(Vec::new()))
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

/// Whether the folder could be read when last tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Clear,
    Lost,
}

impl Sight {
    /// Takes in the outcome of a scan; only a change is worth a line.
    fn note(&mut self, dir: &std::path::Path, failure: Option<&io::Error>) {
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

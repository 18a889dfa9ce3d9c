//! inotify on the folder: says when to look, never what is there.
//!
//! Only the folder itself is watched. That covers files written in place, created,
//! removed or renamed over, and the `..data` link that a mounted `ConfigMap` swaps to
//! change all its files at once.

use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use inotify::{Event, EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::document::Syntax;
use super::pending::Pending;

/// Room for a few hundred notifications at a time; more wait in the kernel.
const BUFFER: usize = 16 << 10;

/// A watch on one folder, which may be missing for a while.
pub(super) struct FolderWatch {
    dir: PathBuf,
    stream: Option<EventStream<Vec<u8>>>,
    armed: Option<WatchDescriptor>,
    pending: Pending,
}

impl FolderWatch {
    /// Without inotify (a node may have used up its instances) looking often has to do.
    pub(super) fn new(dir: &Path) -> Self {
        let stream = Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; BUFFER]));
        let stream = stream
            .inspect_err(|error| {
                warn!(folder = %dir.display(), %error, "cannot watch the manifest folder; looking every second instead");
            })
            .ok();
        Self { dir: dir.to_owned(), stream, armed: None, pending: Pending::default() }
    }

    /// Whether changes will be noticed.
    pub(super) fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// Watches the folder that the path leads to now; true when that is another one than before.
    pub(super) fn arm(&mut self) -> bool {
        let Some(stream) = &self.stream else { return false };
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MODIFY
            | WatchMask::ATTRIB
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        // The kernel gives the same descriptor for the same inode, so repeating this is cheap and tells whether it is.
        let now = stream.watches().add(&self.dir, mask).ok();
        let changed = now != self.armed;
        if let Some(old) = std::mem::replace(&mut self.armed, now).filter(|_| changed) {
            // Fails when the folder is gone, and the watch with it.
            let _ = stream.watches().remove(old);
        }
        changed && self.armed.is_some()
    }

    /// Waits until there is something to look at, or until `deadline`.
    pub(super) async fn wait(&mut self, deadline: Instant) -> Pending {
        loop {
            let until = self.pending.due().map_or(deadline, |due| due.min(deadline));
            tokio::select! {
                () = sleep_until(until) => return self.pending.take(Instant::now()),
                event = next(self.stream.as_mut()) => self.note(&event),
            }
        }
    }

    fn note(&mut self, event: &Event<std::ffi::OsString>) {
        let now = Instant::now();
        let mask = event.mask;
        if mask.intersects(EventMask::Q_OVERFLOW) {
            debug!(folder = %self.dir.display(), "lost track of changes; reading everything");
            self.pending.changed_all(now);
        } else if self.armed.as_ref() != Some(&event.wd) {
            // A late word from a folder that stood here before.
        } else if mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) {
            if mask.intersects(EventMask::IGNORED) {
                self.armed = None;
            }
            self.pending.changed_all(now);
        } else if let Some(name) = event.name.as_deref() {
            match name.to_str().and_then(Syntax::of) {
                Some(_) if mask == EventMask::MODIFY => self.pending.written(name, now),
                Some(_) => self.pending.changed(name, now),
                // The links of a ConfigMap lead through hidden names.
                None if name.as_encoded_bytes().starts_with(b"..") => self.pending.changed_all(now),
                None => {}
            }
        }
    }
}

/// The next notification; never, when there is no stream or it gave up.
async fn next(stream: Option<&mut EventStream<Vec<u8>>>) -> Event<std::ffi::OsString> {
    let result = match stream {
        Some(stream) => stream.next().await,
        None => None,
    };
    match result {
        Some(Ok(event)) => event,
        Some(Err(error)) => {
            warn!(%error, "cannot read file notifications");
            std::future::pending().await
        }
        None => std::future::pending().await,
    }
}

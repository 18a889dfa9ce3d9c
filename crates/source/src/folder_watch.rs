//! Watches a folder with inotify: says when to read its files, not what is in them.
//!
//! Only the folder itself is watched. That covers files written in place, created, removed or renamed over, and the
//! `..data` link that a mounted `ConfigMap` swaps to change all its files at once. What inotify does not show, such as
//! a write through a link that leads out of the folder, a caller finds by reading periodically.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use inotify::{Event, EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

/// Buffer for a few hundred notifications at a time, in bytes; more wait in the kernel.
const BUFFER: usize = 16 << 10;

/// The wait for a further change after each: an editor saves a file in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// The longest delay of a change that others follow.
const MAX_DELAY: Duration = Duration::from_millis(500);

/// A file that was written to but not closed counts as complete after this long. A shell empties the target of
/// `kubectl get … > file` at once, and the content comes seconds later.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A watch on one folder, which may be missing for a while.
#[derive(Debug)]
pub struct FolderWatch {
    folder: PathBuf,
    is_relevant: fn(&OsStr) -> bool,
    stream: Option<EventStream<Vec<u8>>>,
    armed: Option<WatchDescriptor>,
    changes: Changes,
}

impl FolderWatch {
    /// A watch for files in `folder` whose names are relevant. It is not armed yet.
    ///
    /// Without inotify (a node may have used up its instances) it never is, and the caller has to read periodically.
    pub fn new(folder: &Path, is_relevant: fn(&OsStr) -> bool) -> Self {
        let stream = Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; BUFFER]));
        let stream = stream.inspect_err(|error| {
            warn!(folder = %folder.display(), err = %error, "Cannot watch folder with inotify; reading it periodically");
        });
        let folder = folder.to_owned();
        Self { folder, is_relevant, stream: stream.ok(), armed: None, changes: Changes::default() }
    }

    /// Whether changes are noticed.
    pub fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// Watches the folder that the path leads to now. Returns whether that is another one than before.
    pub fn arm(&mut self) -> bool {
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
        // The kernel gives the same descriptor for the same inode, so repeating this is cheap and shows whether it has changed.
        let now = stream.watches().add(&self.folder, mask).ok();
        let is_other = now != self.armed;
        if let Some(old) = std::mem::replace(&mut self.armed, now).filter(|_| is_other) {
            // Fails when the folder is gone, and the watch with it.
            let _ = stream.watches().remove(old);
        }
        is_other && self.armed.is_some()
    }

    /// Waits until there are changes to read and writers are done, or until `deadline`.
    pub async fn wait(&mut self, deadline: Instant) -> Changes {
        loop {
            let until = self.changes.due().map_or(deadline, |due| due.min(deadline));
            tokio::select! {
                () = sleep_until(until) => return self.changes.take(Instant::now()),
                event = next(self.stream.as_mut()) => self.note(&event),
            }
        }
    }

    fn note(&mut self, event: &Event<OsString>) {
        let (now, mask) = (Instant::now(), event.mask);
        if mask.intersects(EventMask::Q_OVERFLOW) {
            debug!(folder = %self.folder.display(), "Lost notifications of changes; reading everything");
            self.changes.changed_all(now);
        } else if self.armed.as_ref() != Some(&event.wd) {
            // A late notification of an earlier folder at this path.
        } else if mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) {
            if mask.intersects(EventMask::IGNORED) {
                self.armed = None;
            }
            self.changes.changed_all(now);
        } else if let Some(name) = event.name.as_deref() {
            if (self.is_relevant)(name) {
                if mask == EventMask::MODIFY {
                    self.changes.written(name, now);
                } else {
                    self.changes.changed(name, now);
                }
            } else if name.as_encoded_bytes().starts_with(b"..") {
                // The links of a ConfigMap lead through hidden names.
                self.changes.changed_all(now);
            }
        }
    }
}

/// The next notification. Waits for ever if there is no stream or it fails.
async fn next(stream: Option<&mut EventStream<Vec<u8>>>) -> Event<OsString> {
    let Some(stream) = stream else { return pending().await };
    match stream.next().await {
        Some(Ok(event)) => event,
        Some(Err(error)) => {
            warn!(err = %error, "Failed to read inotify notifications");
            pending().await
        }
        None => pending().await,
    }
}

/// The changes since a folder was last read.
#[derive(Debug, Default)]
pub struct Changes {
    /// Any file may have changed.
    all: bool,
    /// These files have changed, whatever their time stamps.
    names: HashSet<OsString>,
    /// Files that were written to and not closed since, and when.
    writing: HashMap<OsString, Instant>,
    /// The times of the first and the last change.
    times: Option<(Instant, Instant)>,
}

impl Changes {
    /// All files are to be read.
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }

    /// Whether this file is to be read even if its time stamps are the same.
    pub fn includes(&self, path: &Path) -> bool {
        self.all || path.file_name().is_some_and(|name| self.names.contains(name))
    }

    /// Whether a program is still writing this file.
    pub fn is_being_written(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.writing.contains_key(name))
    }

    /// Adds a file that was created, closed, renamed or removed.
    fn changed(&mut self, name: &OsStr, now: Instant) {
        self.writing.remove(name);
        self.names.insert(name.to_owned());
        self.touch(now);
    }

    /// Adds a file that was written to and is still open.
    fn written(&mut self, name: &OsStr, now: Instant) {
        self.names.insert(name.to_owned());
        self.writing.insert(name.to_owned(), now);
    }

    /// Adds a change that may concern any file.
    fn changed_all(&mut self, now: Instant) {
        self.all = true;
        self.touch(now);
    }

    fn touch(&mut self, now: Instant) {
        let first = self.times.map_or(now, |(first, _)| first);
        self.times = Some((first, now));
    }

    /// When to read, if there are changes.
    fn due(&self) -> Option<Instant> {
        let settled = self.times.map(|(first, last)| (last + SETTLE).min(first + MAX_DELAY));
        let complete = self.writing.values().min().map(|since| *since + WRITE_TIMEOUT);
        settled.into_iter().chain(complete).min()
    }

    /// Takes the changes out, except for files that are still being written.
    fn take(&mut self, now: Instant) -> Self {
        let open: HashMap<_, _> = self.writing.extract_if(|_, since| now < *since + WRITE_TIMEOUT).collect();
        let names = open.keys().cloned().collect();
        let mut taken = std::mem::replace(self, Self { names, writing: open.clone(), ..Self::default() });
        taken.writing = open;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "web.yaml";

    fn web() -> &'static Path {
        Path::new("/manifests/web.yaml")
    }

    #[test]
    fn a_burst_of_changes_is_read_once_after_it_settles() {
        let (mut changes, start) = (Changes::default(), Instant::now());
        assert_eq!(changes.due(), None);
        changes.changed(WEB.as_ref(), start);
        changes.changed(WEB.as_ref(), start + SETTLE / 2);
        assert_eq!(changes.due(), Some(start + SETTLE / 2 + SETTLE));
        assert!(changes.includes(web()));
    }

    #[test]
    fn steady_changes_are_read_after_the_longest_delay() {
        let (mut changes, start) = (Changes::default(), Instant::now());
        for step in 0..100 {
            changes.changed_all(start + step * (SETTLE / 2));
        }
        assert_eq!(changes.due(), Some(start + MAX_DELAY));
    }

    #[test]
    fn an_open_file_is_read_once_it_is_closed() {
        let (mut changes, start) = (Changes::default(), Instant::now());
        changes.written(WEB.as_ref(), start);
        assert_eq!(changes.due(), Some(start + WRITE_TIMEOUT));
        assert!(changes.is_being_written(web()));
        changes.changed(WEB.as_ref(), start + SETTLE);
        assert!(!changes.is_being_written(web()));
        assert_eq!(changes.due(), Some(start + 2 * SETTLE));
    }

    #[test]
    fn an_open_file_stays_pending_while_others_are_read() {
        let (mut changes, start) = (Changes::default(), Instant::now());
        changes.written(WEB.as_ref(), start);
        changes.changed("db.yaml".as_ref(), start);
        let taken = changes.take(start + SETTLE);
        assert!(taken.is_being_written(web()));
        assert!(taken.includes(Path::new("/manifests/db.yaml")));
        assert_eq!(changes.due(), Some(start + WRITE_TIMEOUT));
        let taken = changes.take(start + WRITE_TIMEOUT);
        assert!(taken.includes(web()) && !taken.is_being_written(web()));
        assert_eq!(changes.due(), None);
    }
}

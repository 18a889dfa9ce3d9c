//! What is known to have changed since the folder was last looked at.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// After a change, how long to wait for the next one: an editor's save is several.
const SETTLE: Duration = Duration::from_millis(50);

/// How long a steady trickle of changes may put a look off.
const AT_MOST: Duration = Duration::from_millis(500);

/// A file that was written to but not closed counts as at rest after this long. A
/// shell empties the target of `kubectl get … > file` at once, and the content comes
/// seconds later.
const AT_REST: Duration = Duration::from_secs(10);

/// Changes that wait for a look.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Anything may have changed.
    all: bool,
    /// These files have changed, whatever their stamps say.
    names: HashSet<OsString>,
    /// These were written to and not closed since; when that was.
    writing: HashMap<OsString, Instant>,
    /// When the first and the last of the changes came.
    changes: Option<(Instant, Instant)>,
}

impl Pending {
    /// All files are to be read again.
    pub(super) fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Whether this file must be read again though it looks the same.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.all || path.file_name().is_some_and(|name| self.names.contains(name))
    }

    /// Whether somebody seems to be in the middle of writing this file.
    pub(super) fn is_being_written(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.writing.contains_key(name))
    }

    /// Takes in that a file was created, closed, renamed or removed.
    pub(super) fn changed(&mut self, name: &OsStr, now: Instant) {
        self.writing.remove(name);
        self.names.insert(name.to_owned());
        self.touch(now);
    }

    /// Takes in that a file was written to and is still open.
    pub(super) fn written(&mut self, name: &OsStr, now: Instant) {
        self.names.insert(name.to_owned());
        self.writing.insert(name.to_owned(), now);
    }

    /// Takes in a change that may concern any file.
    pub(super) fn changed_all(&mut self, now: Instant) {
        self.all = true;
        self.touch(now);
    }

    fn touch(&mut self, now: Instant) {
        let first = self.changes.map_or(now, |(first, _)| first);
        self.changes = Some((first, now));
    }

    /// When to look, if there is anything to look for.
    pub(super) fn due(&self) -> Option<Instant> {
        let settled = self.changes.map(|(first, last)| (last + SETTLE).min(first + AT_MOST));
        let rested = self.writing.values().min().map(|since| *since + AT_REST);
        settled.into_iter().chain(rested).min()
    }

    /// Hands over what is to be looked at by `now`; files still being written to stay behind.
    pub(super) fn take(&mut self, now: Instant) -> Self {
        let open: HashMap<_, _> = self.writing.extract_if(|_, since| now < *since + AT_REST).collect();
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
    fn a_burst_of_changes_is_one_look_after_it_settles() {
        let (mut pending, start) = (Pending::default(), Instant::now());
        assert_eq!(pending.due(), None);
        pending.changed(WEB.as_ref(), start);
        pending.changed(WEB.as_ref(), start + SETTLE / 2);
        assert_eq!(pending.due(), Some(start + SETTLE / 2 + SETTLE));
        assert!(pending.names(web()));
    }

    #[test]
    fn a_trickle_cannot_put_the_look_off_for_ever() {
        let (mut pending, start) = (Pending::default(), Instant::now());
        for step in 0..100 {
            pending.changed_all(start + step * (SETTLE / 2));
        }
        assert_eq!(pending.due(), Some(start + AT_MOST));
    }

    #[test]
    fn an_open_file_waits_until_it_is_closed() {
        let (mut pending, start) = (Pending::default(), Instant::now());
        pending.written(WEB.as_ref(), start);
        assert_eq!(pending.due(), Some(start + AT_REST));
        assert!(pending.is_being_written(web()));
        pending.changed(WEB.as_ref(), start + SETTLE);
        assert!(!pending.is_being_written(web()));
        assert_eq!(pending.due(), Some(start + 2 * SETTLE));
    }

    #[test]
    fn an_open_file_stays_pending_while_others_are_looked_at() {
        let (mut pending, start) = (Pending::default(), Instant::now());
        pending.written(WEB.as_ref(), start);
        pending.changed("db.yaml".as_ref(), start);
        let taken = pending.take(start + SETTLE);
        assert!(taken.is_being_written(web()));
        assert!(taken.names(Path::new("/manifests/db.yaml")));
        assert_eq!(pending.due(), Some(start + AT_REST));
        let taken = pending.take(start + AT_REST);
        assert!(taken.names(web()) && !taken.is_being_written(web()));
        assert_eq!(pending.due(), None);
    }
}

//! The files of the folder and the last good content of each.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portolan_core::Event;
use portolan_core::name::Name;
use tracing::error;

use super::contents::{Contents, Reading};
use super::document::{self, MAX_FILE, Syntax};
use super::merge::Merged;
use super::pending::Pending;
use crate::convert::{Converter, Origin};
use crate::metrics::{Count, SourceMetrics};

/// A file younger than this when it was read may change once more without another
/// time stamp: file systems count in ticks of up to a second.
const STAMP_GRAIN: Duration = Duration::from_secs(2);

/// What the folder held when last looked at. Everything here may block.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    node_name: Name,
    metrics: Arc<SourceMetrics>,
    converter: Converter,
    files: BTreeMap<PathBuf, Manifests>,
    merged: Option<Merged>,
}

/// One file.
#[derive(Debug, Default)]
struct Manifests {
    /// How it looked when last read; nothing when it must be read again.
    stamp: Option<Stamp>,
    /// What reading it gave last, so that the same trouble is told once.
    seen: Option<Seen>,
    /// Its last good content.
    contents: Contents,
}

/// What reading a file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Bytes with this digest, good or not.
    Content(u64),
    /// An error of this kind.
    Nothing(io::ErrorKind),
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Folder {
    /// Knows nothing yet.
    pub(super) fn new(dir: PathBuf, node_name: Name, metrics: Arc<SourceMetrics>) -> Self {
        let converter = Converter::new(Origin::Manifest, Arc::default());
        Self { dir, node_name, metrics, converter, files: BTreeMap::new(), merged: None }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What another folder over the same directory would be made from.
    pub(super) fn identity(&self) -> (Name, Arc<SourceMetrics>) {
        (Name::clone(&self.node_name), Arc::clone(&self.metrics))
    }

    /// Reads what changed and returns what that changes for the proxy: at first
    /// everything, later the differences.
    ///
    /// # Errors
    /// The folder cannot be listed; nothing is changed then.
    pub(super) fn scan(&mut self, pending: &Pending) -> io::Result<Vec<Event>> {
        let found = self.manifest_files()?;
        let known = self.files.len();
        self.files.retain(|path, _| found.contains_key(path));
        let mut changed = self.files.len() != known;
        for (path, syntax) in found {
            if pending.is_being_written(&path) && self.files.contains_key(&path) {
                continue;
            }
            changed |= self.refresh(&path, syntax, pending);
        }
        if !changed && self.merged.is_some() {
            return Ok(Vec::new());
        }
        let files = self.files.iter().map(|(path, file)| (path.as_path(), &file.contents));
        let merged = Merged::of(files, &self.node_name);
        merged.warn_of_shadowed(self.merged.as_ref().unwrap_or(&Merged::default()));
        let events = match &self.merged {
            None => {
                self.metrics.add(Count::Lists, 1);
                merged.all()
            }
            Some(before) => merged.since(before),
        };
        self.merged = Some(merged);
        Ok(events)
    }

    fn manifest_files(&self) -> io::Result<BTreeMap<PathBuf, Syntax>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if let Some(syntax) = entry.file_name().to_str().and_then(Syntax::of) {
                found.insert(entry.path(), syntax);
            }
        }
        Ok(found)
    }

    /// Reads one file again if it needs to be; true when its content is another one now.
    fn refresh(&mut self, path: &Path, syntax: Syntax, pending: &Pending) -> bool {
        let looked_at = SystemTime::now();
        // Follows symlinks: what counts is the file that the name leads to.
        let stamp = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Stamp::of(&metadata),
            Ok(_) => return self.files.remove(path).is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.files.remove(path).is_some();
            }
            Err(error) => return self.unreadable(path, &error),
        };
        let known = self.files.get(path).is_some_and(|file| file.stamp == Some(stamp));
        if known && !pending.names(path) {
            return false;
        }
        let content = match read(path) {
            Ok(content) => content,
            Err(error) => return self.unreadable(path, &error),
        };
        let digest = digest(&content);
        let file = self.files.entry(path.to_owned()).or_default();
        file.stamp = stamp.settled(looked_at);
        if file.seen.replace(Seen::Content(digest)) == Some(Seen::Content(digest)) {
            return false;
        }
        match document::objects(syntax, &content) {
            Ok(objects) => {
                let Self { converter, metrics, .. } = self;
                let reading = Reading { file: path, converter, metrics, before: &file.contents };
                file.contents = reading.read(objects);
                true
            }
            Err(broken) => {
                self.metrics.add(Count::BrokenFiles, 1);
                error!(file = %path.display(), "{broken}; the file's last good content stays in force");
                false
            }
        }
    }

    /// Tells once of a file that the system will not give us.
    fn unreadable(&mut self, path: &Path, error: &io::Error) -> bool {
        let file = self.files.entry(path.to_owned()).or_default();
        file.stamp = None;
        if file.seen.replace(Seen::Nothing(error.kind())) != Some(Seen::Nothing(error.kind())) {
            self.metrics.add(Count::BrokenFiles, 1);
            error!(file = %path.display(), "{error}; the file's last good content stays in force");
        }
        false
    }
}

/// Reads a whole file, but no more than [`MAX_FILE`].
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        let reason = format!("larger than {} MiB", MAX_FILE >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(content)
}

/// Tells two contents apart; only ever compared within one run.
fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    hasher.finish()
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The stamp, once a later change is sure to give another one.
    fn settled(self, looked_at: SystemTime) -> Option<Self> {
        let now = looked_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let quiet_since = self.changed.0.max(self.modified.0);
        let grain = STAMP_GRAIN.as_secs();
        u64::try_from(quiet_since).is_ok_and(|since| since + grain < now.as_secs()).then_some(self)
    }
}

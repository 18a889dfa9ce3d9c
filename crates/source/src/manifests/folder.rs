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
use super::document::{self, Location, MAX_FILE, ParseError, Syntax};
use super::merge::Merged;
use crate::convert::{Converter, Origin};
use crate::folder_watch::Changes;
use crate::metrics::{Count, SourceMetrics};

/// A file younger than this when it was read may change again without another
/// time stamp: file systems count in ticks of up to a second.
const STAMP_GRAIN: Duration = Duration::from_secs(2);

/// The content of the folder when it was last read. Everything here may block.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    node_name: Name,
    metrics: Arc<SourceMetrics>,
    converter: Converter,
    files: BTreeMap<PathBuf, ManifestFile>,
    merged: Option<Merged>,
    /// Whether everything has been read once.
    is_complete: bool,
}

/// One file.
#[derive(Debug, Default)]
struct ManifestFile {
    /// Its state when last read; nothing when it must be read again.
    stamp: Option<Stamp>,
    /// The digest of its bytes when last read, good or not, or the kind of the error. The same failure is logged once.
    last_read: Option<Result<u64, io::ErrorKind>>,
    /// Its last good content, once it has had one.
    contents: Option<Contents>,
    /// Why the last attempt to read it failed.
    failure: Option<String>,
}

impl ManifestFile {
    /// Its objects that have never been readable, or the file itself, each with the reason.
    fn unread(&self) -> &[String] {
        match &self.contents {
            Some(contents) => &contents.unread,
            None => self.failure.as_slice(),
        }
    }

    /// Notes why the file cannot be read. Returns the message for the log.
    fn fail(&mut self, failure: String) -> &'static str {
        self.failure = Some(failure);
        if self.contents.is_some() {
            "Failed to read manifest file; its last good content remains in effect"
        } else {
            "Failed to read manifest file; no good content of it is known"
        }
    }
}

/// How much of the folder's content must be known before the first events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: events that leave something out would remove it.
    Everything,
    /// What can be read.
    WhatCanBeRead,
}

/// The result of reading the folder.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// For the proxy: at first everything, later the differences.
    pub(super) events: Vec<Event>,
    /// Files and objects that have never been readable, each with file, document, line and reason, until
    /// everything has been read once.
    pub(super) unread: Vec<String>,
}

/// Distinguishes states of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Folder {
    /// A folder that has not been read yet.
    pub(super) fn new(dir: PathBuf, node_name: Name, metrics: Arc<SourceMetrics>) -> Self {
        let converter = Converter::new(Origin::Manifest, Arc::default());
        Self { dir, node_name, metrics, converter, files: BTreeMap::new(), merged: None, is_complete: false }
    }

    /// The same folder, not read yet.
    pub(super) fn unread_copy(&self) -> Self {
        Self::new(self.dir.clone(), Name::clone(&self.node_name), Arc::clone(&self.metrics))
    }

    /// Reads what changed and returns the events for the proxy. The first events come once as much is known as is
    /// `wanted`.
    ///
    /// # Errors
    /// The folder cannot be listed; nothing has changed then.
    pub(super) fn scan(&mut self, changes: &Changes, wanted: Wanted) -> io::Result<Scan> {
        let found = self.manifest_files()?;
        let before = self.files.len();
        self.files.retain(|path, _| found.contains_key(path));
        let mut differs = self.files.len() != before;
        for (path, syntax) in found {
            if changes.is_being_written(&path) && self.files.contains_key(&path) {
                continue;
            }
            differs |= self.refresh(&path, syntax, changes);
        }
        let mut unread = Vec::new();
        if !self.is_complete {
            unread.extend(self.files.values().flat_map(ManifestFile::unread).cloned());
            self.is_complete = unread.is_empty();
        }
        let is_due = match &self.merged {
            None => self.is_complete || wanted == Wanted::WhatCanBeRead,
            Some(_) => differs,
        };
        Ok(Scan { events: if is_due { self.events() } else { Vec::new() }, unread })
    }

    /// The events since the last call.
    fn events(&mut self) -> Vec<Event> {
        let files =
            self.files.iter().filter_map(|(path, file)| Some((path.as_path(), file.contents.as_ref()?)));
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
        events
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

    /// Reads one file again if it has to be. Returns whether its content differs.
    fn refresh(&mut self, path: &Path, syntax: Syntax, changes: &Changes) -> bool {
        let read_at = SystemTime::now();
        // Follows symlinks to the file that the name leads to.
        let stamp = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Stamp::of(&metadata),
            Ok(_) => return self.files.remove(path).is_some(),
            // Gone since the folder was listed, unless it is a link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                return self.files.remove(path).is_some();
            }
            Err(error) => return self.unreadable(path, &error),
        };
        let known = self.files.get(path).is_some_and(|file| file.stamp == Some(stamp));
        if known && !changes.includes(path) {
            return false;
        }
        let content = match read(path) {
            Ok(content) => content,
            Err(error) => return self.unreadable(path, &error),
        };
        let digest = Ok(digest(&content));
        let file = self.files.entry(path.to_owned()).or_default();
        file.stamp = stamp.settled(read_at);
        if file.last_read.replace(digest) == Some(digest) {
            return false;
        }
        match document::parse(syntax, &content) {
            Ok(parsed) => {
                let Self { converter, metrics, node_name, .. } = self;
                let before = file.contents.take().unwrap_or_default();
                let reading = Reading { file: path, node_name, converter, metrics, before: &before };
                file.contents = Some(reading.read(parsed));
                file.failure = None;
                true
            }
            Err(ParseError { location, reason }) => {
                self.metrics.add(Count::BrokenFiles, 1);
                let effect = file.fail(format!("{}: {location}: {reason}", path.display()));
                let (path, Location { document, line }) = (path.display(), location);
                error!(file = %path, document, line, err = reason, "{effect}");
                false
            }
        }
    }

    /// Logs once that a file cannot be read.
    fn unreadable(&mut self, path: &Path, error: &io::Error) -> bool {
        let file = self.files.entry(path.to_owned()).or_default();
        file.stamp = None;
        let result = Err(error.kind());
        if file.last_read.replace(result) != Some(result) {
            self.metrics.add(Count::BrokenFiles, 1);
            let effect = file.fail(format!("{}: {error}", path.display()));
            error!(file = %path.display(), err = %error, "{effect}");
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

/// Distinguishes contents; compared only within one run.
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

    /// The stamp, if a later change is certain to give another one.
    fn settled(self, read_at: SystemTime) -> Option<Self> {
        let now = read_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unchanged_since = self.changed.0.max(self.modified.0);
        let grain = STAMP_GRAIN.as_secs();
        u64::try_from(unchanged_since).is_ok_and(|since| since + grain < now.as_secs()).then_some(self)
    }
}

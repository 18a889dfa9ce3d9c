//! The files of the configuration: read back, staged, checked, put into place.
//!
//! Holds: a file is exchanged as a whole or not at all, and none before all that are to be exchanged with it
//! have been looked at.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::haproxy::{Haproxy, HaproxyError};

/// What HAProxy reads first: it takes files in the order of their names.
const PREAMBLE: &str = "00-global.cfg";

/// A folder of configuration files, one for each service port.
#[derive(Debug)]
pub(crate) struct Folder {
    /// What HAProxy reads.
    active: PathBuf,
    /// Where files are made.
    staged: PathBuf,
}

/// What became of a service port's file: its new text, or nothing.
pub(crate) type Edit<'a> = (&'a str, Option<String>);

impl Folder {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { active: folder.join("conf"), staged: folder.join("staged") }
    }

    /// The texts of all service ports, by their identifiers.
    pub(crate) fn read(&self) -> io::Result<BTreeMap<String, String>> {
        let mut texts = BTreeMap::new();
        let entries = match fs::read_dir(&self.active) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(texts),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(id) = name.and_then(|name| name.strip_prefix("svc-")?.strip_suffix(".cfg")) {
                texts.insert(id.to_owned(), fs::read_to_string(&path)?);
            }
        }
        Ok(texts)
    }

    /// Puts edits into place that HAProxy need not see before: nothing but addresses differs.
    pub(crate) fn exchange(&self, edits: &[Edit<'_>]) -> Result<(), HaproxyError> {
        self.stage(edits)?;
        self.commit(edits)
    }

    /// Puts edits and a preamble into place, if HAProxy would take them.
    pub(crate) fn exchange_checked(
        &self,
        haproxy: &Haproxy,
        preamble: &str,
        edits: &[Edit<'_>],
    ) -> Result<(), HaproxyError> {
        self.stage(edits)?;
        let first = self.staged.join(PREAMBLE);
        write(&first, preamble)?;
        haproxy.check(&self.staged)?;
        self.commit(edits)?;
        rename(&first, &self.active.join(PREAMBLE))
    }

    fn stage(&self, edits: &[Edit<'_>]) -> Result<(), HaproxyError> {
        for folder in [&self.active, &self.staged] {
            fs::create_dir_all(folder).map_err(unwritten(folder))?;
        }
        // What an earlier attempt left would be looked at, too.
        remove_ours(&self.staged)?;
        edits.iter().try_for_each(|(id, text)| match text {
            Some(text) => write(&self.staged.join(file(id)), text),
            None => Ok(()),
        })
    }

    fn commit(&self, edits: &[Edit<'_>]) -> Result<(), HaproxyError> {
        edits.iter().try_for_each(|(id, text)| {
            let place = self.active.join(file(id));
            match text {
                Some(_) => rename(&self.staged.join(file(id)), &place),
                None => remove(&place),
            }
        })
    }

    /// Removes every file that may be ours, and the folders if they have no other files.
    pub(crate) fn remove(folder: &Path) -> Result<(), HaproxyError> {
        for part in [folder.join("conf"), folder.join("staged")] {
            remove_ours(&part)?;
            // What is left in there is not ours, and keeps the folder.
            let _ = fs::remove_dir(&part);
        }
        for name in ["master.sock", "worker.sock", "idle.sock", "pid", "log"] {
            remove(&folder.join(name))?;
        }
        let _ = fs::remove_dir(folder);
        // The other family's may still be there.
        let _ = folder.parent().map(fs::remove_dir);
        Ok(())
    }
}

fn remove_ours(folder: &Path) -> Result<(), HaproxyError> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name == PREAMBLE || name.starts_with("svc-")
    };
    entries.filter(is_ours).try_for_each(|path| remove(&path))
}

fn file(id: &str) -> String {
    format!("svc-{id}.cfg")
}

fn unwritten(path: &Path) -> impl FnOnce(io::Error) -> HaproxyError {
    move |error| HaproxyError::Unwritten(path.display().to_string(), error)
}

fn write(path: &Path, text: &str) -> Result<(), HaproxyError> {
    fs::write(path, text).map_err(unwritten(path))
}

fn rename(from: &Path, to: &Path) -> Result<(), HaproxyError> {
    fs::rename(from, to).map_err(unwritten(to))
}

fn remove(path: &Path) -> Result<(), HaproxyError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(unwritten(path)),
    }
}

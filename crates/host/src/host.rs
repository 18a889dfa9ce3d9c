//! Where the files of this host are.

use std::path::{Path, PathBuf};

/// The host as its `/proc` and `/sys` show it.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The host that this process runs on.
    pub fn new() -> Self {
        Self::at("/")
    }

    /// A host whose `proc` and `sys` lie below another folder, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the file of this absolute name is found.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(Path::new(name).strip_prefix("/").unwrap_or(Path::new(name)))
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

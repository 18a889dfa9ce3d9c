//! The files of procfs and sysfs: numbers are read, compared, and written only if they differ.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::HostError;

/// The host as its `/proc` and `/sys` show it.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

/// The result for one setting.
#[derive(Debug)]
pub struct SysctlResult {
    /// Its file, such as `/proc/sys/net/netfilter/nf_conntrack_max`.
    pub sysctl: String,
    /// The result.
    pub outcome: Outcome,
}

/// The result for a setting.
#[derive(Debug)]
pub enum Outcome {
    /// It already had the value.
    Kept,
    /// It was changed.
    Set {
        /// The value before.
        from: i64,
        /// The value written. The kernel may round it: `hashsize` grows to fill whole pages.
        to: i64,
    },
    /// It does not have the value.
    Failed(HostError),
}

impl From<Result<Outcome, HostError>> for Outcome {
    fn from(result: Result<Outcome, HostError>) -> Self {
        result.unwrap_or_else(Self::Failed)
    }
}

impl Host {
    /// The host that this process runs on.
    pub fn new() -> Self {
        Self::at("/")
    }

    /// A host with `proc` and `sys` in another folder, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The text of the file of this absolute name.
    pub(crate) fn text(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.path(name))
    }

    /// The path of the file of this absolute name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(Path::new(name).strip_prefix("/").unwrap_or(Path::new(name)))
    }

    /// Sets the sysctl at `path` below `/proc/sys`, such as `net/ipv4/ip_forward`, unless it has this value.
    pub fn set_sysctl(&self, path: &str, value: i64) -> SysctlResult {
        let sysctl = format!("/proc/sys/{path}");
        let outcome = self.set(&sysctl, value).into();
        SysctlResult { sysctl, outcome }
    }

    /// The number in the sysctl at `path` below `/proc/sys`.
    ///
    /// # Errors
    /// It does not exist, cannot be read, or is not an integer.
    pub fn sysctl(&self, path: &str) -> Result<i64, HostError> {
        let name = format!("/proc/sys/{path}");
        number(
            &name,
            &self.text(&name).map_err(|source| HostError::Unreadable { file: name.clone(), source })?,
        )
    }

    /// Sets `oom_score_adj` of this process, from -1000 (never killed) to 1000.
    ///
    /// # Errors
    /// The process has no permission: a lower score than at its start needs `CAP_SYS_RESOURCE`.
    pub fn set_oom_score_adj(&self, score: i32) -> Result<(), HostError> {
        self.set("/proc/self/oom_score_adj", score.into()).map(drop)
    }

    /// Sets the file `name` to `value` unless it has it.
    pub(crate) fn set(&self, name: &str, value: i64) -> Result<Outcome, HostError> {
        self.set_unless(name, value, |from| from == value)
    }

    /// Sets the file `name` to `value` unless it has at least that.
    pub(crate) fn raise(&self, name: &str, value: i64) -> Result<Outcome, HostError> {
        self.set_unless(name, value, |from| from >= value)
    }

    fn set_unless(
        &self,
        name: &str,
        to: i64,
        is_set: impl FnOnce(i64) -> bool,
    ) -> Result<Outcome, HostError> {
        let text = self.text(name).map_err(|source| HostError::of_read_before_write(name, to, source))?;
        let from = number(name, &text)?;
        if is_set(from) {
            return Ok(Outcome::Kept);
        }
        // In one call, because the kernel takes each for a complete value; never creates a file.
        let file = OpenOptions::new().write(true).truncate(true).open(self.path(name));
        file.and_then(|mut file| file.write_all(to.to_string().as_bytes()))
            .map_err(|source| HostError::of_write(name, to, source))?;
        Ok(Outcome::Set { from, to })
    }
}

/// The number that the file `name` holds.
fn number(name: &str, text: &str) -> Result<i64, HostError> {
    text.trim().parse().map_err(|_not_a_number| HostError::Unexpected {
        file: name.to_owned(),
        found: text.trim().to_owned(),
    })
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;

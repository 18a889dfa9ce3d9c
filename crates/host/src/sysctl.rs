//! Numbers in files: read, compared, and written only when they differ.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::{Host, HostError};

/// What became of one setting.
#[derive(Debug)]
pub struct Tuned {
    /// The file it lives in, such as `/proc/sys/net/netfilter/nf_conntrack_max`.
    pub sysctl: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a setting.
#[derive(Debug)]
pub enum Outcome {
    /// It had the value wanted and was not written.
    Kept,
    /// It was changed.
    Set {
        /// The value before.
        from: i64,
        /// The value written. The kernel may round it: `hashsize` grows to fill whole pages.
        to: i64,
    },
    /// It is not what was wanted.
    Failed(HostError),
}

impl From<Result<Outcome, HostError>> for Outcome {
    fn from(result: Result<Outcome, HostError>) -> Self {
        result.unwrap_or_else(Self::Failed)
    }
}

impl Host {
    /// Sets the sysctl at `path` below `/proc/sys`, such as `net/ipv4/ip_forward`, unless it has this value.
    pub fn set_sysctl(&self, path: &str, value: i64) -> Tuned {
        let sysctl = format!("/proc/sys/{path}");
        let outcome = self.set(&sysctl, value).into();
        Tuned { sysctl, outcome }
    }

    /// What the sysctl at `path` below `/proc/sys` holds.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it holds no whole number.
    pub fn sysctl(&self, path: &str) -> Result<i64, HostError> {
        let name = format!("/proc/sys/{path}");
        let text = fs::read_to_string(self.path(&name));
        number(&name, &text.map_err(|source| HostError::Unreadable { file: name.clone(), source })?)
    }

    /// Sets how readily the kernel kills this process when memory is short: from -1000, never, to 1000.
    ///
    /// # Errors
    /// The process may not; a lower score than it started with takes `CAP_SYS_RESOURCE`.
    pub fn set_oom_score_adj(&self, score: i32) -> Result<(), HostError> {
        self.set("/proc/self/oom_score_adj", score.into()).map(drop)
    }

    /// Sets the file `name` to `value` unless it has it.
    pub(crate) fn set(&self, name: &str, value: i64) -> Result<Outcome, HostError> {
        let from = self.number_to_set(name, value)?;
        if from == value {
            return Ok(Outcome::Kept);
        }
        self.write_number(name, value)?;
        Ok(Outcome::Set { from, to: value })
    }

    /// Sets the file `name` to `value` unless it has that much.
    pub(crate) fn raise(&self, name: &str, value: i64) -> Result<Outcome, HostError> {
        let from = self.number_to_set(name, value)?;
        if from >= value {
            return Ok(Outcome::Kept);
        }
        self.write_number(name, value)?;
        Ok(Outcome::Set { from, to: value })
    }

    /// What the file `name` holds before it is set to `wanted`.
    fn number_to_set(&self, name: &str, wanted: i64) -> Result<i64, HostError> {
        let text = fs::read_to_string(self.path(name))
            .map_err(|source| HostError::of_read_before_write(name, wanted, source))?;
        number(name, &text)
    }

    fn write_number(&self, name: &str, value: i64) -> Result<(), HostError> {
        write_existing(&self.path(name), &value.to_string())
            .map_err(|source| HostError::of_write(name, value, source))
    }
}

/// The number that the file `name` holds.
fn number(name: &str, text: &str) -> Result<i64, HostError> {
    text.trim().parse().map_err(|_not_a_number| HostError::Unexpected {
        file: name.to_owned(),
        found: text.trim().to_owned(),
        expected: "a whole number",
    })
}

/// Writes in one call, for the kernel takes each for a whole value, and never makes a file.
fn write_existing(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).truncate(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;

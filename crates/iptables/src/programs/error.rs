//! Why a program of iptables did not do as it was told.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::Version;
use crate::names::Table;

/// Why a program of iptables did not do as it was told.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is not there.
    #[error("there is no program {name} in PATH")]
    Missing {
        /// Its name.
        name: String,
    },
    /// It lacks options that we use.
    #[error("{} is version {version}, and {oldest} is the oldest that will do", program.display())]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its version.
        version: Version,
        /// The oldest version that has them.
        oldest: Version,
    },
    /// It does not say which version it is.
    #[error("{} says `{answer}` where its version was asked for", program.display())]
    Unversioned {
        /// The program.
        program: PathBuf,
        /// What it said.
        answer: String,
    },
    /// It could not be started or talked to.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It did not come to an end, and was killed.
    #[error("{} was still running after {} seconds", program.display(), after.as_secs_f32())]
    Endless {
        /// The program.
        program: PathBuf,
        /// How long it was given.
        after: Duration,
    },
    /// Other programs held the lock of the tables all the time.
    #[error("the tables of iptables are locked by another program: {complaint}")]
    Locked {
        /// What the program that waited for it said.
        complaint: String,
    },
    /// It failed for want of something other than a right input: memory, privileges, the kernel's patience.
    #[error("{} could not go on ({status}): {complaint}", program.display())]
    Resource {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote as errors.
        complaint: String,
    },
    /// Others wrote rules into a table that iptables has no words for, and so it shows none of them.
    #[error(
        "table {table} has rules in it that iptables did not write and cannot show; `nft list table` does"
    )]
    Incompatible {
        /// The table.
        table: Table,
    },
    /// It, or the kernel, turned its input down.
    #[error("{} failed: {complaint}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// The line of its input that it names, counted from one.
        line: Option<u64>,
        /// What it wrote as errors, or how it ended if that was nothing.
        complaint: String,
    },
}

impl ProgramError {
    /// Whether another input may do better: the program ran, and did not like this one.
    pub fn is_of_input(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// The line of the input that was turned down, counted from one, if the program said so.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Failed { line, .. } => *line,
            _ => None,
        }
    }
}

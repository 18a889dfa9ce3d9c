//! Why a program of iptables failed, from what it wrote as errors.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::Version;
use crate::names::Table;

/// `RESOURCE_PROBLEM` of iptables' `enum xtables_exittype`. iptables-nft also ends so when the kernel rejects
/// a line; it then names the line.
const RESOURCE_PROBLEM: i32 = 4;

/// Why a program of iptables failed.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It does not exist.
    #[error("program {name} is not in PATH")]
    Missing {
        /// Its name.
        name: String,
    },
    /// It lacks options that are needed.
    #[error("{name} has version {version}; the oldest supported one is {oldest}")]
    TooOld {
        /// Its name.
        name: String,
        /// Its version.
        version: Version,
        /// The oldest version that has them.
        oldest: Version,
    },
    /// It does not say which version it is.
    #[error("cannot find a version in what {} --version prints: `{answer}`", program.display())]
    UnknownVersion {
        /// The program.
        program: PathBuf,
        /// What it printed.
        answer: String,
    },
    /// It could not be started, written to or read from.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It did not end in time, and was killed.
    #[error("{} was still running after {} seconds", program.display(), limit.as_secs_f32())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it was given.
        limit: Duration,
    },
    /// Other programs held the lock of the tables all the time.
    #[error("the tables of iptables are locked by another program: {complaint}")]
    Locked {
        /// What the program wrote as errors that waited for the lock.
        complaint: String,
    },
    /// It failed for another reason than its input: memory, privileges, the kernel's state.
    #[error("{} ended early ({status}): {complaint}", program.display())]
    Resource {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote as errors.
        complaint: String,
    },
    /// A table has rules that only nft can show, so iptables shows none of its rules.
    #[error(
        "table {table} has rules in it that iptables did not write and cannot show; `nft list table` shows them"
    )]
    Incompatible {
        /// The table.
        table: Table,
    },
    /// It, or the kernel, rejected its input.
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
    /// Why a program failed that ended so and wrote these errors.
    pub(super) fn of(program: &Path, status: ExitStatus, errors: &str) -> Self {
        let complaint = match one_line(errors) {
            empty if empty.is_empty() => status.to_string(),
            line => line,
        };
        let (program, line) = (program.to_owned(), line(&complaint));
        match status.code() {
            Some(RESOURCE_PROBLEM) if line.is_none() && complaint.contains("lock") => {
                Self::Locked { complaint }
            }
            Some(RESOURCE_PROBLEM) if line.is_none() => Self::Resource { program, status, complaint },
            // By a signal, as when memory is short.
            None => Self::Resource { program, status, complaint },
            Some(_) => Self::Failed { program, line, complaint },
        }
    }

    /// Whether another input may succeed: the program ran, and rejected this one.
    pub fn is_of_input(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// The line of the input that was rejected, counted from one, if the program named it.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Failed { line, .. } => *line,
            _ => None,
        }
    }

    /// What the program wrote as errors, if it failed by itself.
    pub fn complaint(&self) -> Option<&str> {
        match self {
            Self::Locked { complaint }
            | Self::Resource { complaint, .. }
            | Self::Failed { complaint, .. } => Some(complaint),
            _ => None,
        }
    }
}

/// All errors in one line, without the advice to read the manual.
fn one_line(errors: &str) -> String {
    let lines = errors.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Try `"));
    lines.collect::<Vec<_>>().join("; ")
}

/// The number in `line 7 failed`, `line 7: RULE_APPEND failed` and `Error occurred at line: 7`.
fn line(complaint: &str) -> Option<u64> {
    complaint.match_indices("line").find_map(|(at, word)| {
        let digits = complaint[at + word.len()..].trim_start_matches([' ', ':']);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use portolan_core::backend::error_chain;

    use super::*;

    /// Of a program that ended with this wait status (wait(2)) and these errors.
    fn error(status: i32, errors: &str) -> ProgramError {
        ProgramError::of(Path::new("/sbin/iptables-restore"), ExitStatus::from_raw(status), errors)
    }

    #[test]
    fn the_rejected_line_is_found_in_what_both_variants_print() {
        let cases = [
            ("iptables-restore: line 7 failed\n", 1, Some(7)),
            (
                "iptables-nft-restore: line 3 failed: Bad rule (does a matching rule exist in that chain?).",
                1,
                Some(3),
            ),
            (
                "iptables-nft-restore v1.8.9 (nf_tables): \nline 12: RULE_APPEND failed (Invalid argument): rule in chain X",
                4,
                Some(12),
            ),
            (
                "iptables-restore v1.8.9 (legacy): Couldn't load match `nosuch':No such file or directory\n\n\
                 Error occurred at line: 3\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.",
                2,
                Some(3),
            ),
            ("iptables-restore v1.8.9: no command specified", 2, None),
            ("no memory", 1, None),
            ("line", 1, None),
            ("line 99999999999999999999 failed", 1, None),
            ("", 1, None),
        ];
        for (errors, code, expected) in cases {
            let error = error(code << 8, errors);
            assert!(error.is_of_input(), "{error:?}");
            assert_eq!(error.line(), expected, "{errors}");
        }
    }

    #[test]
    fn advice_is_left_out_and_the_rest_is_one_line() {
        let errors =
            "iptables-restore: bad\n\nError occurred at line: 3\nTry `iptables-restore -h' for more.\n";
        let expected = "/sbin/iptables-restore failed: iptables-restore: bad; Error occurred at line: 3";
        assert_eq!(error(2 << 8, errors).to_string(), expected);
        let silent = error(1 << 8, "").to_string();
        assert_eq!(silent, "/sbin/iptables-restore failed: exit status: 1");
    }

    #[test]
    fn a_program_without_lock_memory_or_privilege_has_not_rejected_its_input() {
        let locked = error(
            4 << 8,
            "Another app is currently holding the xtables lock; still 1s 0us time ahead to have a chance to grab the lock...",
        );
        assert!(matches!(locked, ProgramError::Locked { .. }), "{locked:?}");
        let refused = error(4 << 8, "iptables: Could not fetch rule set generation id: Permission denied");
        assert!(matches!(refused, ProgramError::Resource { .. }), "{refused:?}");
        let killed = error(9, "");
        assert!(matches!(killed, ProgramError::Resource { .. }), "{killed:?}");
        assert!(!killed.is_of_input());
        assert!(error_chain(&killed).contains("signal: 9"), "{killed}");
    }
}

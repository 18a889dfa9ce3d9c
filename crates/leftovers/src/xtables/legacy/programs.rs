//! The programs of iptables-legacy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_host::iptables;
use portolan_host::programs::{self, Ended, RunError, find};

use super::restore::blamed_line;
use crate::LeftoverError;

/// How long the programs wait for the lock that others may hold, in seconds as they are told; what kube-proxy
/// waits, too.
const LOCK_PATIENCE: &str = "5";
/// How long a program may take in all. A hundred thousand rules take some ten seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// `RESOURCE_PROBLEM` of iptables' `enum xtables_exittype`: the lock, for one.
const RESOURCE_PROBLEM: i32 = 4;

/// The two programs that read and change the tables of one family.
#[derive(Debug)]
pub(super) struct Programs {
    save: PathBuf,
    restore: PathBuf,
}

impl Programs {
    /// Finds them: by the names that say which kind they are, or else by the plain ones, if those are of this
    /// kind. `tables` are there to be looked into, for the error.
    pub(super) fn find(family: IpFamily, tables: &[&str]) -> Result<Self, LeftoverError> {
        let name = iptables::program(family);
        let named = Self::by_name(&format!("{name}-legacy"));
        let plain = || Self::by_name(name).filter(|_| is_legacy(name));
        named.or_else(plain).ok_or_else(|| LeftoverError::NoProgram {
            family,
            tables: tables.join(", "),
            missing: format!("{name}-legacy-save with {name}-legacy-restore"),
        })
    }

    fn by_name(name: &str) -> Option<Self> {
        Some(Self { save: find(&format!("{name}-save"))?, restore: find(&format!("{name}-restore"))? })
    }

    /// All tables that exist, as text.
    pub(super) fn save(&self) -> Result<String, LeftoverError> {
        let ended = run(&self.save, &[], "")?;
        if !ended.status.success() {
            let (program, complaint) = (self.save.clone(), complaint(ended));
            return Err(LeftoverError::Failed { program, line: None, complaint });
        }
        Ok(ended.output)
    }

    /// Carries out what `input` says, unless it says nothing.
    pub(super) fn restore(&self, input: &str) -> Result<(), LeftoverError> {
        if input.is_empty() {
            return Ok(());
        }
        let ended = run(&self.restore, &["--noflush", "--wait", LOCK_PATIENCE], input)?;
        let status = ended.status;
        if status.success() {
            return Ok(());
        }
        let complaint = complaint(ended);
        if status.code() == Some(RESOURCE_PROBLEM) && complaint.contains("lock") {
            Err(LeftoverError::Locked { complaint })
        } else {
            let line = blamed_line(input, &complaint);
            Err(LeftoverError::Failed { program: self.restore.clone(), line, complaint })
        }
    }
}

/// Whether the plain program is of the old kind. Since 1.8.0 its version says so; before there was no other.
fn is_legacy(name: &str) -> bool {
    let version = find(name).and_then(|program| run(&program, &["--version"], "").ok());
    version.is_some_and(|ended| ended.status.success() && !ended.output.contains("nf_tables"))
}

fn run(program: &Path, arguments: &[&str], input: &str) -> Result<Ended, LeftoverError> {
    programs::run(program, arguments.iter().copied(), input, PATIENCE).map_err(|error| {
        let program = program.to_owned();
        match error {
            RunError::NotRun(source) => LeftoverError::Run { program, source },
            RunError::StillRunning(after) => LeftoverError::Endless { program, after },
        }
    })
}

/// What a program that failed said of it; if nothing, how it ended.
fn complaint(ended: Ended) -> String {
    if ended.errors.is_empty() { ended.status.to_string() } else { ended.errors }
}

//! The programs of iptables-legacy.

use std::path::PathBuf;
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_host::programs::find;

use super::process::{Ended, run};
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
        let name = match family {
            IpFamily::V4 => "iptables",
            IpFamily::V6 => "ip6tables",
        };
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
        let ended = run(&self.save, [], "", PATIENCE)?;
        if !ended.status.success() {
            let program = self.save.clone();
            return Err(LeftoverError::Failed { program, line: None, complaint: ended.complaint });
        }
        Ok(ended.output)
    }

    /// Carries out what `input` says, unless it says nothing.
    pub(super) fn restore(&self, input: &str) -> Result<(), LeftoverError> {
        if input.is_empty() {
            return Ok(());
        }
        let Ended { status, complaint, .. } =
            run(&self.restore, ["--noflush", "--wait", LOCK_PATIENCE], input, PATIENCE)?;
        if status.success() {
            Ok(())
        } else if status.code() == Some(RESOURCE_PROBLEM) && complaint.contains("lock") {
            Err(LeftoverError::Locked { complaint })
        } else {
            let line = blamed_line(input, &complaint);
            Err(LeftoverError::Failed { program: self.restore.clone(), line, complaint })
        }
    }
}

/// Whether the plain program is of the old kind. Since 1.8.0 its version says so; before there was no other.
fn is_legacy(name: &str) -> bool {
    let version = find(name).and_then(|program| run(&program, ["--version"], "", PATIENCE).ok());
    version.is_some_and(|ended| ended.status.success() && !ended.output.contains("nf_tables"))
}

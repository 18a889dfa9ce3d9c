//! Finds and removes chains that go by kube-proxy's names and that no running mode uses.
//!
//! The iptables and ipvs modes, kube-proxy's and Portolan's, have the same names, and their chains lead to each other.
//! So one removal serves both, and it removes all chains that the running mode does not have. The same rules can be in
//! two places of the kernel: iptables-nft keeps them in tables of nf_tables, which are read and changed over netlink
//! (`nf_tables`); iptables-legacy keeps them in its own, which only its programs can change (`legacy`). What is removed
//! from a table is the same decision for both (`plan`), and so are the names (`chains`). [`ForeignChains`] finds out
//! whether another proxy writes such chains now.
//!
//! Holds:
//!
//! * Chains are known by kube-proxy's names. Rules and chains of others stay as they are, including their counters.
//! * A chain that others still use stays, together with what it needs to keep its meaning, and is reported.
//! * Reading changes nothing: it creates no table, and loads no kernel module but `nf_tables`, which cannot be asked
//!   otherwise.
//! * Established connections continue. A failure in one place does not stop the removal from the other, and all of it
//!   can be repeated.

mod chains;
mod foreign;
mod legacy;
mod nf_tables;
mod plan;

use std::io;
use std::path::PathBuf;

use portolan_core::backend::CleanupReport;
use portolan_core::{IpFamily, ProxyMode};
use portolan_nft::NftError;

pub use foreign::ForeignChains;

use crate::programs::{ProgramError, Programs, Variant};
use chains::StaleChains;

/// A mode whose chains have kube-proxy's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The iptables mode.
    Iptables,
    /// The ipvs mode.
    Ipvs,
}

/// The running mode with the variant of iptables that it writes rules by, if its chains have kube-proxy's names.
pub type Running = Option<(Mode, Variant)>;

/// Finds out which chains the running mode has.
///
/// # Errors
/// The running mode has chains of kube-proxy's names, and does not serve this family. Which of the chains are stale is
/// then unknown.
pub fn running(mode: Option<&ProxyMode>, family: IpFamily) -> Result<Running, ProgramError> {
    let modes = [(ProxyMode::IPTABLES, Mode::Iptables), (ProxyMode::IPVS, Mode::Ipvs)];
    match modes.into_iter().find(|(named, _)| Some(named) == mode) {
        Some((_, mode)) => Programs::find(family).map(|programs| Some((mode, programs.variant()))),
        None => Ok(None),
    }
}

/// Removes the chains of `modes` from the tables of both variants in one family, except for those of the running mode.
///
/// Call it when the new rules are programmed. It blocks for as long as it takes to read and change the tables: seconds
/// for tens of thousands of rules.
pub fn remove(modes: &[Mode], running: Running, family: IpFamily) -> CleanupReport {
    let mut report = CleanupReport::default();
    for variant in [Variant::Nft, Variant::Legacy] {
        let beside = running.filter(|(_, own)| *own == variant).map(|(mode, _)| mode);
        let stale = StaleChains { modes, beside };
        report.step(|report, found| match variant {
            Variant::Nft => nf_tables::remove(family, stale, found, report),
            Variant::Legacy => legacy::remove(family, stale, found, report),
        });
    }
    report
}

/// Why stale chains could not be removed, or not be looked for.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StaleError {
    /// Tables of iptables-nft could not be read.
    #[error("cannot look for kube-proxy's chains in the nf_tables tables of {family}")]
    Read {
        /// The family.
        family: IpFamily,
        /// What went wrong.
        source: NftError,
    },
    /// Chains could not be removed from a table of iptables-nft.
    #[error("cannot remove kube-proxy's chains from table {table}")]
    Remove {
        /// The table, with its family.
        table: String,
        /// What went wrong.
        source: NftError,
    },
    /// Another process kept changing a table.
    #[error("{what} kept changing while kube-proxy's chains were removed")]
    Unsteady {
        /// The table.
        what: String,
    },
    /// The kernel's list of tables of iptables-legacy could not be read.
    #[error("cannot read {}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Tables of iptables-legacy could not be read without its programs.
    #[error("cannot look for kube-proxy's chains in the iptables-legacy tables of {family}")]
    Legacy {
        /// The family.
        family: IpFamily,
        /// What went wrong.
        source: io::Error,
    },
    /// There are tables of iptables-legacy, but no programs that read them.
    #[error("cannot look for kube-proxy's chains in the iptables-legacy tables {tables} of {family}")]
    NoProgram {
        /// The family.
        family: IpFamily,
        /// The tables' names.
        tables: String,
        /// The program that is missing.
        source: ProgramError,
    },
    /// A program rejected a line.
    #[error("{} failed at `{line}`: {complaint}", program.display())]
    Rejected {
        /// The program.
        program: PathBuf,
        /// The line.
        line: String,
        /// What the program wrote as errors.
        complaint: String,
    },
    /// A program failed otherwise.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

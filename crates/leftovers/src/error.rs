//! Why something could not be removed, or not be looked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use portolan_ipvs::IpvsError;
use portolan_netlink::NetlinkError;
use portolan_nft::NftError;

/// Why a step failed.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeftoverError {
    /// A running process owns kube-proxy's table.
    #[error("table {table} belongs to a running process, which has to let go of it first")]
    Owned {
        /// The table, with its family.
        table: String,
        /// The kernel's refusal.
        source: NftError,
    },
    /// The kernel did not delete kube-proxy's table.
    #[error("cannot delete table {table}")]
    Table {
        /// The table, with its family.
        table: String,
        /// What went wrong.
        source: NftError,
    },
    /// Something could not be read from the kernel.
    #[error("cannot read {what}")]
    Read {
        /// What was to be read.
        what: String,
        /// What went wrong.
        source: NetlinkError,
    },
    /// Rules of another proxy could not be looked for.
    #[error("cannot look for rules of another proxy in {family} tables of nf_tables")]
    Foreign {
        /// The family.
        family: portolan_core::IpFamily,
        /// What went wrong.
        source: NftError,
    },
    /// Tables of iptables-legacy could not be looked at.
    #[error("cannot look for rules of another proxy in iptables-legacy tables of {family}")]
    Legacy {
        /// The family.
        family: portolan_core::IpFamily,
        /// What went wrong.
        source: io::Error,
    },
    /// Something could not be deleted.
    #[error("cannot delete {what}")]
    Delete {
        /// The object.
        what: String,
        /// What went wrong.
        source: NetlinkError,
    },
    /// Others kept changing the tables.
    #[error("{what} kept changing while leftovers were looked for")]
    Unsteady {
        /// The tables.
        what: String,
    },
    /// A file of the kernel could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// There are tables of iptables-legacy, but nothing to look into them with.
    #[error(
        "cannot look for kube-proxy's chains in the iptables-legacy tables {tables} of {family}: there is no {missing}"
    )]
    NoProgram {
        /// The family.
        family: portolan_core::IpFamily,
        /// The tables' names.
        tables: String,
        /// The programs that would do.
        missing: String,
    },
    /// A program could not be started or talked to.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A program did not come to an end, and was killed.
    #[error("{} was still running after {} seconds", program.display(), after.as_secs())]
    Endless {
        /// The program.
        program: PathBuf,
        /// How long it was given.
        after: Duration,
    },
    /// A program failed.
    #[error("{} failed{}: {complaint}", program.display(), line.as_deref().map(|line| format!(" at `{line}`")).unwrap_or_default())]
    Failed {
        /// The program.
        program: PathBuf,
        /// The line of its input that it names.
        line: Option<String>,
        /// What it wrote as errors, or how it ended if that was nothing.
        complaint: String,
    },
    /// Other programs held the lock of iptables-legacy all the time.
    #[error("the iptables-legacy tables are locked by another program: {complaint}")]
    Locked {
        /// What the program that waited for it said.
        complaint: String,
    },
    /// The device of ipvs mode is something else than kube-proxy makes.
    #[error("interface {name} is no dummy but of kind {kind}, and so not kube-proxy's")]
    NotDummy {
        /// The interface.
        name: &'static str,
        /// Its kind.
        kind: String,
    },
    /// Some objects of a kind could not be deleted; all others were.
    #[error("{left} {what} could not be deleted, the first being {first}")]
    Left {
        /// How many.
        left: usize,
        /// Of what kind.
        what: &'static str,
        /// The first.
        first: String,
        /// What the kernel said of it.
        source: IpvsError,
    },
    /// What only the ipvs mode has could not be read or deleted.
    #[error(transparent)]
    Ipvs(#[from] IpvsError),
}

//! Why something could not be removed, or not be looked for.

use std::io;

use portolan_netlink::NetlinkError;
use portolan_nft::NftError;

/// Why a step failed. What it was to remove is there as before, unless a variant says otherwise.
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
    /// The tables could not be listed.
    #[error("cannot list the nftables tables")]
    List {
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
    /// Something could not be deleted.
    #[error("cannot delete {what}")]
    Delete {
        /// The object.
        what: String,
        /// What went wrong.
        source: NetlinkError,
    },
    /// A file of the kernel could not be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
}

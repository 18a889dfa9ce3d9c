//! Why the kernel did not do, or could not tell, what was asked.

use std::io;

use portolan_netlink::NetlinkError;

/// Why a commit or a dump failed. After a failed commit everything is as it was before.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NftError {
    /// The kernel turned one step down, and with it the whole transaction.
    #[error("kernel refused to {verb} {object}{}", explain(message.as_deref(), *further))]
    Refused {
        /// What was tried: `add`, `delete` or `flush`.
        verb: &'static str,
        /// On what, in nft's words: `element 10.96.0.10 . udp . 53 of map ip portolan services`.
        object: String,
        /// The kernel's error number.
        errno: i32,
        /// The kernel's own explanation, where it gave one.
        message: Option<String>,
        /// How many other steps of the same transaction it turned down as well.
        further: usize,
        /// The error number as an error.
        source: io::Error,
    },
    /// The kernel turned the transaction down without naming a step.
    #[error("kernel refused the transaction on table {table}{}", explain(message.as_deref(), 0))]
    Batch {
        /// The table it was for.
        table: String,
        /// The kernel's error number.
        errno: i32,
        /// The kernel's own explanation, where it gave one.
        message: Option<String>,
        /// The error number as an error.
        source: io::Error,
    },
    /// An object cannot be written as asked: a mistake of the caller.
    #[error("{object} cannot be written: {reason}")]
    Invalid {
        /// Which object.
        object: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The ruleset kept changing while it was read.
    #[error("table {table} kept changing while it was read")]
    Unsteady {
        /// The table being read.
        table: String,
    },
    /// The kernel's answer made no sense.
    #[error("kernel sent a malformed {what}")]
    Malformed {
        /// What was being read.
        what: &'static str,
    },
    /// The socket failed.
    #[error("netlink failed to {action}")]
    Netlink {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: NetlinkError,
    },
}

impl NftError {
    /// The kernel's error number, where the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } | Self::Batch { errno, .. } => Some(*errno),
            Self::Netlink { source, .. } => source.errno(),
            Self::Invalid { .. } | Self::Unsteady { .. } | Self::Malformed { .. } => None,
        }
    }

    /// Something named in the transaction does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }

    /// Something to add exists in another shape.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// Something to delete is still used.
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(libc::EBUSY)
    }

    /// The privilege is missing, or another process owns the table.
    pub fn is_not_permitted(&self) -> bool {
        matches!(self.errno(), Some(libc::EPERM | libc::EACCES))
    }

    /// The kernel does not know what was asked for.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.errno(), Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT))
    }

    /// The same call may succeed a little later, nothing else having changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            // One step refused: another socket owns the table and may let go. The whole batch
            // refused: the privilege is missing, and stays so.
            Self::Refused { errno, .. } => *errno == libc::EPERM || transient(*errno),
            Self::Batch { errno, .. } => transient(*errno),
            Self::Netlink { source, .. } => source.is_retryable(),
            Self::Unsteady { .. } => true,
            Self::Invalid { .. } | Self::Malformed { .. } => false,
        }
    }
}

/// `EBUSY` is among them: before Linux 6.2 a chain can count as used just after its last use went.
fn transient(errno: i32) -> bool {
    matches!(errno, libc::EAGAIN | libc::EINTR | libc::ENOMEM | libc::ENOBUFS | libc::EBUSY | libc::ERESTART)
}

fn explain(message: Option<&str>, further: usize) -> String {
    let message = message.map(|text| format!(": {text}")).unwrap_or_default();
    match further {
        0 => message,
        1 => format!("{message} (and 1 step more)"),
        many => format!("{message} (and {many} steps more)"),
    }
}

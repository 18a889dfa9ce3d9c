//! Errors of commits and dumps.

use std::io;

use portolan_netlink::NetlinkError;

/// Why a commit or a dump failed. A failed commit changes nothing.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NftError {
    /// The kernel rejected one step, and with it the whole transaction.
    #[error("kernel refused to {verb} {object}{}", explain(message.as_deref(), *further))]
    Rejected {
        /// The action: `add`, `delete` or `flush`.
        verb: &'static str,
        /// The object: `element 10.96.0.10 . udp . 53 of map ip portolan services`.
        object: String,
        /// The kernel's error number.
        errno: i32,
        /// The kernel's own explanation, where it gave one.
        message: Option<String>,
        /// How many other steps of the same transaction it rejected as well.
        further: usize,
        /// The error number as an error.
        source: io::Error,
    },
    /// The kernel rejected the transaction without naming a step.
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
    /// An object cannot be encoded: an error of the caller.
    #[error("{object} cannot be written: {reason}")]
    Invalid {
        /// Which object.
        object: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The ruleset changed during every attempt to read it.
    #[error("table {table} kept changing while it was read")]
    Unsteady {
        /// The table being read.
        table: String,
    },
    /// The kernel's answer is malformed.
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
            Self::Rejected { errno, .. } | Self::Batch { errno, .. } => Some(*errno),
            Self::Netlink { source, .. } => source.errno(),
            Self::Invalid { .. } | Self::Unsteady { .. } | Self::Malformed { .. } => None,
        }
    }

    /// An object named in the transaction does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }

    /// An object to add exists with other properties.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// An object to delete is still in use.
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(libc::EBUSY)
    }

    /// The privilege is missing, or another process owns the table.
    pub fn is_not_permitted(&self) -> bool {
        matches!(self.errno(), Some(libc::EPERM | libc::EACCES))
    }

    /// The kernel does not support the request.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.errno(), Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT))
    }

    /// The same call may succeed a little later without any other change.
    pub fn is_retryable(&self) -> bool {
        match self {
            // For one step: another socket owns the table and may be closed. For the whole batch: the
            // privilege is missing, and stays missing.
            Self::Rejected { errno, .. } => *errno == libc::EPERM || transient(*errno),
            Self::Batch { errno, .. } => transient(*errno),
            Self::Netlink { source, .. } => source.is_retryable(),
            Self::Unsteady { .. } => true,
            Self::Invalid { .. } | Self::Malformed { .. } => false,
        }
    }
}

/// `EBUSY` is included: before Linux 6.2 a chain can count as used just after its last use is deleted.
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

//! Why talking to the kernel failed.

use std::io;
use std::time::Duration;

use crate::TooLong;

/// Why a request got no usable answer.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetlinkError {
    /// The socket could not be made.
    #[error("cannot open a netlink socket for {protocol}")]
    Open {
        /// The protocol's name.
        protocol: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A socket option could not be set.
    #[error("cannot set netlink socket option {option}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A batch exceeds what the send buffer may grow to.
    #[error(
        "a netlink batch of {size} bytes exceeds the socket's limit of {limit}; a larger one needs CAP_NET_ADMIN in the initial user namespace, or a larger net.core.wmem_max"
    )]
    TooLarge {
        /// The batch, in bytes.
        size: usize,
        /// The most that fits, in bytes.
        limit: usize,
    },
    /// Sending failed.
    #[error("cannot send a netlink message")]
    Send {
        /// Why.
        source: io::Error,
    },
    /// Receiving failed.
    #[error("cannot receive a netlink message")]
    Receive {
        /// Why.
        source: io::Error,
    },
    /// The kernel did not answer.
    #[error("no netlink answer within {} seconds", after.as_secs())]
    TimedOut {
        /// The timeout.
        after: Duration,
    },
    /// Answers were lost because they came faster than they were read.
    #[error("netlink answers were lost: the receive buffer overflowed")]
    Overrun,
    /// A dump was interrupted by changes every time.
    #[error("a netlink dump was interrupted {attempts} times in a row")]
    Interrupted {
        /// How often.
        attempts: usize,
    },
    /// The kernel rejected a single request or a dump.
    #[error("kernel rejected a netlink request{}", message.as_deref().map(|m| format!(": {m}")).unwrap_or_default())]
    Rejected {
        /// The kernel's own explanation, where it gave one.
        message: Option<String>,
        /// The kernel's error number as an error.
        source: io::Error,
    },
}

impl From<TooLong> for NetlinkError {
    fn from(source: TooLong) -> Self {
        Self::Send { source: io::Error::other(source) }
    }
}

impl NetlinkError {
    /// The error number behind it, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open { source, .. }
            | Self::Option { source, .. }
            | Self::Send { source }
            | Self::Receive { source }
            | Self::Rejected { source, .. } => source.raw_os_error(),
            Self::TooLarge { .. } | Self::TimedOut { .. } | Self::Overrun | Self::Interrupted { .. } => None,
        }
    }

    /// The same request may succeed a little later, nothing else having changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Overrun | Self::Interrupted { .. } => true,
            Self::TooLarge { .. } => false,
            _ => matches!(
                self.errno(),
                Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENOMEM | libc::EBUSY)
            ),
        }
    }
}

//! Why the connection tracking table could not be read or changed.

use std::io;

use portolan_netlink::{Nack, NetlinkError};

/// Why a step of a check failed; the source of a `FlowError`, which names the step.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConntrackError {
    /// The process may not see or change connection tracking.
    #[error("requires CAP_NET_ADMIN in the user namespace that owns the network namespace")]
    NotPermitted {
        /// The kernel's answer.
        source: NetlinkError,
    },
    /// The kernel has no connection tracking, or does not offer it over netlink.
    #[error(
        "the kernel does not offer connection tracking over netlink (CONFIG_NF_CT_NETLINK, module nf_conntrack_netlink)"
    )]
    Unsupported {
        /// The kernel's answer.
        source: NetlinkError,
    },
    /// Any other failure.
    #[error("the netlink request failed")]
    Failed {
        /// What went wrong.
        source: NetlinkError,
    },
    /// Some flows could not be deleted; all others were.
    #[error("the kernel did not delete {left} of them")]
    Left {
        /// How many.
        left: usize,
        /// The error for the first one.
        source: io::Error,
    },
}

impl ConntrackError {
    /// Explains the answer to a request that any kernel with connection tracking understands.
    pub(crate) fn of_plain(source: NetlinkError) -> Self {
        match source.errno() {
            // The answer of a netfilter socket about a subsystem that is missing and cannot be loaded,
            // and the error where there are no such sockets at all.
            Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT) => Self::Unsupported { source },
            _ => source.into(),
        }
    }

    /// The error for flows that the kernel did not delete; none if all of these had gone already.
    pub(crate) fn of_nacks(nacks: &[Nack]) -> Option<Self> {
        let mut left = nacks.iter().filter(|nack| nack.errno != libc::ENOENT);
        let first = left.next()?;
        Some(Self::Left { left: 1 + left.count(), source: io::Error::from_raw_os_error(first.errno) })
    }
}

impl From<NetlinkError> for ConntrackError {
    fn from(source: NetlinkError) -> Self {
        match source.errno() {
            Some(libc::EPERM) => Self::NotPermitted { source },
            _ => Self::Failed { source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32) -> NetlinkError {
        NetlinkError::Rejected { message: None, source: io::Error::from_raw_os_error(errno) }
    }

    fn nack(errno: i32) -> Nack {
        Nack { sequence: 1, errno, message: None, offset: None }
    }

    #[test]
    fn missing_subsystem_and_missing_privilege_are_distinguished() {
        assert!(matches!(
            ConntrackError::of_plain(refused(libc::EINVAL)),
            ConntrackError::Unsupported { .. }
        ));
        let no_sockets = NetlinkError::Open {
            protocol: "netfilter",
            source: io::Error::from_raw_os_error(libc::EPROTONOSUPPORT),
        };
        assert!(matches!(ConntrackError::of_plain(no_sockets), ConntrackError::Unsupported { .. }));
        assert!(matches!(
            ConntrackError::of_plain(refused(libc::EPERM)),
            ConntrackError::NotPermitted { .. }
        ));
        assert!(matches!(ConntrackError::of_plain(NetlinkError::Overrun), ConntrackError::Failed { .. }));
    }

    #[test]
    fn flows_that_were_gone_already_are_no_failure_and_the_first_other_one_is_named() {
        assert!(ConntrackError::of_nacks(&[nack(libc::ENOENT)]).is_none());
        let some = [libc::ENOENT, libc::EBUSY, libc::ENOENT, libc::ENOMEM].map(nack);
        let Some(ConntrackError::Left { left, source }) = ConntrackError::of_nacks(&some) else {
            panic!("two were left")
        };
        assert_eq!((left, source.raw_os_error()), (2, Some(libc::EBUSY)));
    }
}

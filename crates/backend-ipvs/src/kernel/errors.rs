//! Errors of the kernel's interfaces.

use portolan_core::backend::Metric;
use portolan_core::{BackendError, ProxyMode};
use portolan_host::HostError;
use portolan_iptables::RESTORE_FAILURES;
use portolan_iptables::programs::ProgramError;
use portolan_ipvs::IpvsError;

/// Why a step failed.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The host lacks something that this mode needs.
    #[error("the host lacks {missing}")]
    Lacking {
        /// What.
        missing: String,
    },
    /// A netlink request failed.
    #[error(transparent)]
    Netlink(#[from] IpvsError),
    /// The kernel rejected some changes and carried out all others.
    #[error("the kernel rejected changes{also}")]
    Unserved {
        /// The service port of the first one, and how many others are affected; half a sentence.
        also: String,
        /// The first one.
        source: IpvsError,
    },
    /// A program of iptables failed.
    #[error(transparent)]
    Rules(#[from] ProgramError),
    /// A sysctl could not be set.
    #[error(transparent)]
    Setting(#[from] HostError),
    /// The device of that name is of another kind.
    #[error("interface {name} is of kind {kind} and not dummy, so it is not ours")]
    NotDummy {
        /// The interface.
        name: &'static str,
        /// Its kind.
        kind: String,
    },
}

impl From<KernelError> for BackendError {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Lacking { missing } => Self::unsupported(&ProxyMode::IPVS, missing),
            KernelError::Netlink(IpvsError::Rejected { action, source }) => Self::refused(action, source),
            KernelError::Netlink(IpvsError::Read { what, source }) => {
                Self::io(format!("read {what}"), source)
            }
            KernelError::Netlink(IpvsError::Send { action, source }) => Self::io(action, source),
            KernelError::Unserved { also, source: IpvsError::Rejected { action, source } } => {
                Self::refused(action + &also, source)
            }
            KernelError::Rules(error) => {
                let failures = Metric::increment(RESTORE_FAILURES, 1);
                Self::refused("load the iptables rules", error).with_metrics([failures])
            }
            error => Self::refused("prepare the ipvs mode", error),
        }
    }
}

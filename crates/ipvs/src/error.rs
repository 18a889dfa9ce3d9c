//! Why a request about IPVS, IP sets or addresses failed.

use std::io;

use portolan_netlink::NetlinkError;

/// Why a step failed.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpvsError {
    /// A socket could not be opened, or something not be read.
    #[error("cannot read {what}")]
    Read {
        /// What was to be read.
        what: String,
        /// What went wrong.
        source: NetlinkError,
    },
    /// The kernel rejected a change. Others of the same list may have been carried out.
    #[error("the kernel refused to {action}")]
    Rejected {
        /// The change, with its object.
        action: String,
        /// Why.
        source: ErrorNumber,
    },
    /// Changes could not be sent, or were not answered; they may have been carried out nevertheless.
    #[error("cannot {action}")]
    Send {
        /// The change, or the first of many.
        action: String,
        /// What went wrong.
        source: NetlinkError,
    },
}

impl IpvsError {
    /// The error number behind it, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Read { source, .. } | Self::Send { source, .. } => source.errno(),
            Self::Rejected { source, .. } => source.errno(),
        }
    }

    pub(crate) fn read(what: impl Into<String>) -> impl FnOnce(NetlinkError) -> Self {
        let what = what.into();
        move |source| Self::Read { what, source }
    }
}

/// The kernel's reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorNumber {
    /// An error of ipset's own, which the system has no text for (`IPSET_ERR_*`,
    /// linux/netfilter/ipset/ip_set.h).
    #[error("ipset error {number}{}", explained(*number).map(|text| format!(": {text}")).unwrap_or_default())]
    Set {
        /// Its number.
        number: i32,
    },
    /// Any other.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// `IPSET_ERR_PRIVATE` and, for what types say of their own, `IPSET_ERR_TYPE_SPECIFIC`.
const PRIVATE: i32 = 4096;
const TYPE_SPECIFIC: i32 = 4352;

impl ErrorNumber {
    pub(crate) fn new(errno: i32) -> Self {
        if errno > PRIVATE { Self::Set { number: errno } } else { io::Error::from_raw_os_error(errno).into() }
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::Set { number } => Some(*number),
            Self::System(error) => error.raw_os_error(),
        }
    }
}

/// The most usual of ipset's errors in words.
fn explained(number: i32) -> Option<&'static str> {
    // IPSET_ERR_HASH_FULL and IPSET_ERR_HASH_ELEM are a type's; linux/netfilter/ipset/ip_set_hash.h.
    const FULL: i32 = TYPE_SPECIFIC;
    match number - PRIVATE {
        1 => Some("the message was not understood"),
        2 => Some("the kernel does not have this type of set"),
        3 => Some("there are too many sets"),
        4 => Some("the set is in use"),
        6 => Some("there is a set of this name and another type"),
        7 => Some("the element is in the set, or is not in it"),
        _ if number == FULL => Some("the set is full"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_sets_have_words_that_the_system_lacks() {
        assert_eq!(ErrorNumber::new(4352).to_string(), "ipset error 4352: the set is full");
        assert_eq!(ErrorNumber::new(4100).to_string(), "ipset error 4100: the set is in use");
        assert_eq!(ErrorNumber::new(5000).to_string(), "ipset error 5000");
        assert!(ErrorNumber::new(libc::ENOENT).to_string().starts_with("No such file"));
        assert_eq!(ErrorNumber::new(4352).errno(), Some(4352));
    }
}

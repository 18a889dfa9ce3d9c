//! Why a command line cannot be followed.

use std::io;

use portolan_core::address::AddressError;

/// What is wrong with the configuration as a whole or with one setting of it.
///
/// A message is one line and names the flag; the source, if there is one, says
/// what is wrong with its value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No such flag.
    #[error("unknown flag {flag}")]
    UnknownFlag {
        /// As it was typed.
        flag: String,
    },
    /// The flag stands last and needs a value.
    #[error("flag {flag} needs a value")]
    MissingValue {
        /// The flag.
        flag: String,
    },
    /// Text that belongs to no flag.
    #[error("arguments besides flags are not taken, got {argument:?}")]
    UnexpectedArgument {
        /// As it was typed.
        argument: String,
    },
    /// The value is none that the flag can have.
    #[error("invalid value {value:?} for {flag}")]
    InvalidValue {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        source: ValueError,
    },
    /// Two flags that exclude each other.
    #[error("{first} and {second} exclude each other")]
    Conflict {
        /// One of them.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// A node name of blanks, given or the host's own.
    #[error("empty hostname-override is invalid")]
    EmptyHostname,
    /// The host did not say its name.
    #[error("this host's name cannot be read, and --hostname-override is not set")]
    Hostname {
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Adds to a value's fault whose value it is.
pub(crate) fn invalid(flag: &str, value: &str) -> impl FnOnce(ValueError) -> ConfigError {
    |source| ConfigError::InvalidValue { flag: flag.to_owned(), value: value.to_owned(), source }
}

/// What is wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not UTF-8, which every setting is.
    #[error("not valid UTF-8")]
    Encoding,
    /// Not a Go boolean.
    #[error("not one of true, false, 1, 0, t, f")]
    Bool,
    /// Not a log verbosity.
    #[error("not a number from 0 to 2147483647")]
    Verbosity,
    /// Not the number of a bit in a packet mark.
    #[error("not a number from 0 to 31")]
    MarkBit,
    /// Not a way to tell local pods.
    #[error("not one of ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix")]
    DetectLocalMode,
    /// Not there, though `--detect-local-mode` needs it.
    #[error("must not be empty with --detect-local-mode={mode}")]
    NeededBy {
        /// That mode.
        mode: &'static str,
    },
    /// Longer than an interface's name can be.
    #[error("longer than the 15 bytes that interface names have at most")]
    InterfaceName,
    /// With a character that no interface's name has, or that nft could not list.
    #[error("has a blank, control character, slash, colon or quote")]
    InterfaceCharacter,
    /// Not a Go duration.
    #[error("not a duration such as 500ms, 30s or 1m30s")]
    Duration,
    /// A duration below zero.
    #[error("must not be negative")]
    Negative,
    /// A period of zero.
    #[error("must be more than zero")]
    Zero,
    /// The shortest time between syncs is longer than the longest.
    #[error("must not be longer than --iptables-sync-period")]
    LongerThanSyncPeriod,
    /// Not an address or CIDR.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Not something to listen on.
    #[error("not an IP address, or IP:port with a port from 1 to 65535")]
    BindAddress,
    /// More ranges than families, or two of one family.
    #[error("at most one CIDR of each IP family is taken")]
    CidrPair,
    /// `primary` among CIDRs.
    #[error("\"primary\" cannot be combined with CIDRs")]
    PrimaryAmongCidrs,
    /// Not a log format.
    #[error("not one of text, json")]
    LogFormat,
}

//! Why a configuration cannot be followed.

use std::io;

use portolan_core::IpFamily;
use portolan_core::address::AddressError;

use crate::note::Note;
use crate::validation::faults::Faults;

/// What is wrong with the configuration as a whole or with one setting of it.
///
/// A message is one line and names the flag, the file or the field; the source, if there is one,
/// says what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No such flag.
    #[error("unknown flag {flag}, see --help")]
    UnknownFlag {
        /// As it was typed.
        flag: String,
    },
    /// The flag stands last and needs a value.
    #[error("flag {flag} needs a value, see --help")]
    MissingValue {
        /// The flag.
        flag: String,
    },
    /// Text that belongs to no flag.
    #[error("arguments besides flags are not taken, got {argument:?}, see --help")]
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
    /// Two settings that exclude each other.
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
    #[error("this host's name cannot be read, and no hostname-override is set")]
    Hostname {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The configuration file cannot be read.
    #[error("failed complete: open {path}")]
    OpenFile {
        /// Its path.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The configuration file is none that we know.
    #[error("failed complete: failed to decode: {path}: {reason}")]
    Decode {
        /// Its path.
        path: String,
        /// What is wrong, and where in it.
        reason: String,
    },
    /// Settings are impossible or at odds with each other: all of them, each with its path.
    #[error("{faults}")]
    Invalid {
        /// What is wrong.
        faults: Faults,
        /// What else there is to say about how the configuration was read.
        notes: Vec<Note>,
    },
    /// Pods are told by ranges that are all of a family which is not served.
    #[error("cluster is {primary}-primary, but clusterCIDR has only ranges of the other family: {cidrs}")]
    ClusterCidrFamily {
        /// The family that comes first.
        primary: IpFamily,
        /// `clusterCIDR`.
        cidrs: String,
    },
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
    /// Not a whole number of 32 bits.
    #[error("not a whole number from -2147483648 to 2147483647")]
    Int32,
    /// Not a number of 32 bits.
    #[error("not a number")]
    Float32,
    /// Not a log verbosity.
    #[error("not a number from 0 to 2147483647")]
    Verbosity,
    /// Not a Go duration.
    #[error("not a duration such as 500ms, 30s or 1m30s")]
    Duration,
    /// Not a quantity of Kubernetes.
    #[error("not a quantity such as 512, 1Ki or 3M")]
    Quantity,
    /// Not a line of CSV.
    #[error("not a list with commas between its items")]
    List,
    /// Not switches by name.
    #[error("not a list such as A=true,B=false")]
    Switches,
    /// Not verbosities by file.
    #[error("not a list such as file=1,other*=2")]
    VModule,
    /// Not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Not something to listen on.
    #[error("not an IP address, or IP:port with a port from 1 to 65535")]
    BindAddress,
    /// Not a way to ask for the version.
    #[error("not one of true, false, raw, or a version that begins with v")]
    Version,
    /// A version of another release.
    #[error("not a version of the release v1.36.2")]
    ReportedVersion,
}

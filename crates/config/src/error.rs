//! Errors of flags and files.

use std::io;

use portolan_core::IpFamily;

use crate::notes::Note;
use crate::validation::errors::FieldErrors;

/// Why a configuration is not valid.
///
/// A message is one line and names the flag, the file or the field; the source, if there is one, gives the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The command line has an unknown flag, a flag without its value, or a positional argument.
    #[error("{0}, see --help")]
    Usage(String),
    /// The value of a flag is not valid.
    #[error("invalid value {value:?} for {flag}: {reason}")]
    InvalidValue {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// Why it is not valid.
        reason: String,
    },
    /// Two settings that are mutually exclusive.
    #[error("{first} and {second} are mutually exclusive")]
    Conflict {
        /// The first.
        first: &'static str,
        /// The second.
        second: &'static str,
    },
    /// A blank node name, given or the host's.
    #[error("empty hostname-override is invalid")]
    EmptyHostname,
    /// The host's name is unknown.
    #[error("cannot read the host's name; set --hostname-override")]
    Hostname {
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The configuration file cannot be read.
    #[error("failed complete: open {path}")]
    OpenFile {
        /// Its path.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// The configuration file cannot be decoded.
    #[error("failed complete: failed to decode: {path}: {reason}")]
    Decode {
        /// Its path.
        path: String,
        /// What is wrong, with its line and field.
        reason: String,
    },
    /// Fields are not valid: all of them, each with its path.
    #[error("{errors}")]
    Invalid {
        /// What is wrong.
        errors: FieldErrors,
        /// Log lines about reading the file.
        notes: Vec<Note>,
    },
    /// Local pods are detected by CIDRs of a family that is not served.
    #[error("cluster is {primary}-primary, but clusterCIDR has only CIDRs of the other IP family: {cidrs}")]
    ClusterCidrFamily {
        /// The primary family.
        primary: IpFamily,
        /// `clusterCIDR`.
        cidrs: String,
    },
}

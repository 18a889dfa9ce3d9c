//! Reads flags into one checked configuration, with kube-proxy's names and defaults.
//!
//! Two steps. `Flags` holds what was typed, in the types that pflag gives it,
//! so that `-v x` fails while reading; [`Config`] is what follows from
//! it, checked as a whole. A setting that can also stand in a file is kept as text
//! until the second step, which a file can then share.
//!
//! Always holds: a [`Config`] can be run without further checks, except that nobody
//! here knows which modes the binary has or what the host offers.

mod bind;
mod config;
mod duration;
mod error;
mod flags;
mod help;
mod node;
mod value;

use std::ffi::OsString;
use std::io;

use flags::Flags;

pub use config::{ApiAccess, Config, LogFormat, Logging, ModeSelection, Source, SyncPeriods};
pub use error::{ConfigError, ValueError};

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// `--help`: print this text.
    Help(String),
    /// `--version`: print the version.
    Version,
    /// `--cleanup`: remove everything any mode may have left.
    Cleanup(Box<Config>),
    /// Forward packets until told to stop.
    Run(Box<Config>),
}

/// Understands a command line, its first item the program's name.
///
/// `os_hostname` is asked for this host's name if no flag gives another.
///
/// # Errors
/// A flag is unknown, a value impossible or at odds with another, or the host has no name.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    os_hostname: impl FnOnce() -> io::Result<String>,
) -> Result<Invocation, ConfigError> {
    let flags = Flags::parse(args)?;
    if flags.help {
        return Ok(Invocation::Help(help::text()));
    }
    if flags.version {
        return Ok(Invocation::Version);
    }
    let cleanup = flags.cleanup;
    let config = Box::new(Config::check(flags, os_hostname)?);
    Ok(if cleanup { Invocation::Cleanup(config) } else { Invocation::Run(config) })
}

#[cfg(test)]
mod tests;

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
mod difference;
mod duration;
mod error;
mod flags;
mod gates;
mod help;
mod node;
mod note;
mod value;
mod version;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use portolan_core::ProxyMode;

use flags::Flags;

pub use config::{ApiAccess, Config, Conntrack, LogFormat, Logging, ModeSelection, Source, SyncPeriods};
pub use difference::{Difference, TakesEffect};
pub use error::{ConfigError, ValueError};
pub use gates::FeatureGates;
pub use note::{Note, NoteLevel};
pub use version::GIT_VERSION;

/// What a command line is read against.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Tells this host's name; asked if nothing else names the node.
    pub hostname: &'a dyn Fn() -> io::Result<String>,
    /// Modes that this binary has, besides `nftables`, `iptables`, `ipvs` and `userspace`, which
    /// are known whether it has them or not.
    pub modes: &'a [ProxyMode],
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// `--help`: print this text.
    Help(String),
    /// `--version`: print this text.
    Version(String),
    /// `--write-config-to`: write the configuration in force.
    WriteConfig {
        /// Where to.
        path: PathBuf,
        /// What, as YAML.
        yaml: String,
    },
    /// `--cleanup`: remove everything any mode may have left.
    Cleanup(Box<Config>),
    /// `--init-only`: do what needs privileges at start, and no more.
    InitOnly(Box<Config>),
    /// Forward packets until told to stop.
    Run(Box<Config>),
}

/// Understands a command line, its first item the program's name, and the file that it names.
///
/// Reads that file anew each time, so calling this again with the same `args` gives what a changed
/// file asks for.
///
/// # Errors
/// A flag is unknown, the file cannot be read or understood, a value is impossible or at odds with
/// another, or the host has no name.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment<'_>,
) -> Result<Invocation, ConfigError> {
    let flags = Flags::parse(args)?;
    if flags.help {
        return Ok(Invocation::Help(help::text()));
    }
    if flags.version {
        return Ok(Invocation::Version(version::line()));
    }
    let cleanup = flags.cleanup;
    let config = Box::new(Config::check(flags, || (environment.hostname)())?);
    Ok(if cleanup { Invocation::Cleanup(config) } else { Invocation::Run(config) })
}

#[cfg(test)]
mod tests;

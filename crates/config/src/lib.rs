//! Reads the command line and the configuration file into one checked configuration, with
//! kube-proxy's names and defaults.
//!
//! ```text
//! arguments ─▶ flags ─┐
//!                     ├▶ merge ─▶ KubeProxyConfiguration ─▶ validation ─▶ Config
//! file ─▶ decode ─────┘            (defaults filled in)         └▶ FieldErrors, all at once
//! ```
//!
//! Flags set fields of `KubeProxyConfiguration`, and a file is decoded into it. The rest of the crate knows neither.
//!
//! Always holds: a [`Config`] needs no further checks, except for what the host supports; parsing the same arguments
//! again reads nothing but the file; a setting that is accepted and has no effect has a [`Note`].

mod bind;
mod config;
mod difference;
mod duration;
mod error;
mod families;
mod file;
mod flags;
mod gates;
mod kube_proxy;
mod merge;
mod notes;
mod quantity;
mod validation;
mod version;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use portolan_core::ProxyMode;

use flags::Bound;
use flags::value::VersionFlag;

pub use config::{
    ApiAccess, Config, Conntrack, IptablesSettings, IpvsSettings, LogFormat, Logging, ModeSelection,
    ServiceAddresses, Source, SyncPeriods, UserspaceSettings,
};
pub use difference::{Difference, TakesEffect};
pub use error::ConfigError;
pub use gates::FeatureGates;
pub use notes::{Note, NoteLevel};
pub use validation::errors::FieldErrors;

/// What parsing a command line depends on.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Returns the host's name; called if no setting names the node.
    pub hostname: &'a dyn Fn() -> io::Result<String>,
    /// Modes of this binary besides `nftables`, `iptables`, `ipvs` and `userspace`, which are valid whether it has
    /// them or not.
    pub modes: &'a [ProxyMode],
}

/// What the command line requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// `--help`: print this text.
    Help(String),
    /// `--version`: print this text.
    Version(String),
    /// `--write-config-to`: write the effective configuration.
    WriteConfig {
        /// The file, or `-` for standard output.
        path: PathBuf,
        /// Its content.
        yaml: String,
        /// Log lines about the configuration.
        notes: Vec<Note>,
        /// Settings of the log.
        logging: Logging,
    },
    /// `--cleanup`: remove the rules of all modes.
    Cleanup(Box<Config>),
    /// `--init-only`: do the initialization that needs privileges.
    InitOnly(Box<Config>),
    /// Run the proxy.
    Run(Box<Config>),
}

/// Parses a command line, its first item the program's name, and reads the file that it names.
///
/// Reads the file anew each time, so another call with the same `args` returns the configuration of a changed file.
///
/// # Errors
/// A flag is unknown, the file cannot be read or decoded, a value is invalid or conflicts with another, or the host has
/// no name.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment<'_>,
) -> Result<Invocation, ConfigError> {
    let bound = Bound::parse(args)?;
    if bound.help {
        return Ok(Invocation::Help(flags::help()));
    }
    match bound.version {
        VersionFlag::Print => return Ok(Invocation::Version(version::line())),
        VersionFlag::Raw => return Ok(Invocation::Version(version::raw())),
        VersionFlag::No | VersionFlag::Report(_) => {}
    }
    let (given, notes) = merge::merge(&bound)?;
    let mut config = match Config::check(&bound, given, environment.modes) {
        Ok(config) => Box::new(config),
        // A misspelt field is often why another one is missing.
        Err(errors) => return Err(ConfigError::Invalid { errors, notes }),
    };
    config.notes = notes;
    config.notes.extend(notes::of(&config.given, &config.gates, &bound));
    if !bound.write_config_to.is_empty() {
        let (path, yaml) = (PathBuf::from(&bound.write_config_to), config.given.effective().to_yaml());
        return Ok(Invocation::WriteConfig { path, yaml, notes: config.notes, logging: config.logging });
    }
    config.node.node_name = node_name(&config.given.hostname_override, environment)?.into();
    config.set_manifests(&bound)?;
    Ok(match (bound.cleanup, bound.init_only) {
        (true, _) => Invocation::Cleanup(config),
        (false, true) => Invocation::InitOnly(config),
        (false, false) => Invocation::Run(config),
    })
}

/// The node's name, as in its Node object.
fn node_name(given: &str, environment: &Environment<'_>) -> Result<String, ConfigError> {
    let name = if given.is_empty() {
        (environment.hostname)().map_err(|source| ConfigError::Hostname { source })?
    } else {
        given.to_owned()
    };
    let name = name.trim().to_lowercase();
    if name.is_empty() { Err(ConfigError::EmptyHostname) } else { Ok(name) }
}

#[cfg(test)]
mod tests;

//! Reads the command line and the configuration file into one checked configuration, with
//! kube-proxy's names and defaults.
//!
//! ```text
//! arguments ─▶ flags ─┐
//!                     ├▶ settle ─▶ KubeProxyConfiguration ─▶ validation ─▶ Config
//! file ─▶ tree ───────┘             (defaults filled in)         └▶ faults, all at once
//! ```
//!
//! Two typed front ends meet in one type, `KubeProxyConfiguration`: flags are bound to its
//! fields, a file is decoded into it. Everything after that knows neither.
//!
//! Always holds: a [`Config`] can be run without further checks, except that nobody
//! here knows what the host offers; reading the same arguments again reads the file again and
//! nothing else of the world; a setting that is accepted and not followed has a [`Note`].

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
mod modes;
mod note;
mod notes;
mod quantity;
mod settle;
mod validation;
mod version;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use portolan_core::ProxyMode;

use flags::Bound;
use flags::value::VersionFlag;
use settle::Settled;

pub use config::{ApiAccess, Config, Conntrack, LogFormat, Logging, ModeSelection, Source, SyncPeriods};
pub use difference::{Difference, TakesEffect};
pub use error::{ConfigError, ValueError};
pub use gates::FeatureGates;
pub use modes::{IptablesSettings, IpvsSettings, ServiceAddresses, UserspaceSettings};
pub use note::{Note, NoteLevel};
pub use validation::faults::Faults;

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
        /// What standard error should say about the configuration.
        notes: Vec<Note>,
        /// How it should be said.
        logging: Logging,
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
    let bound = Bound::parse(args)?;
    if bound.help {
        return Ok(Invocation::Help(flags::help::text()));
    }
    match bound.version {
        VersionFlag::Print => return Ok(Invocation::Version(version::line())),
        VersionFlag::Raw => return Ok(Invocation::Version(version::raw())),
        VersionFlag::No | VersionFlag::Report(_) => {}
    }
    let Settled { config: given, mut notes } = settle::settle(&bound)?;
    let checked = match validation::check(&given, environment.modes) {
        Ok(checked) => checked,
        // A misspelt field is often why another one is missing.
        Err(faults) => return Err(ConfigError::Invalid { faults, notes }),
    };
    notes.extend(notes::of(&given, &checked.gates, &bound));
    if !bound.write_config_to.is_empty() {
        let path = PathBuf::from(&bound.write_config_to);
        let yaml = given.effective().to_yaml();
        return Ok(Invocation::WriteConfig { path, yaml, notes, logging: checked.logging });
    }
    let name = node_name(&given.hostname_override, environment)?;
    let config = Box::new(Config::new(&bound, given, checked, name, notes)?);
    Ok(match (bound.cleanup, bound.init_only) {
        (true, _) => Invocation::Cleanup(config),
        (false, true) => Invocation::InitOnly(config),
        (false, false) => Invocation::Run(config),
    })
}

/// The name as the Node object has it.
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

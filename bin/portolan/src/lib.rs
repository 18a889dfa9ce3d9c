//! The proxy as a whole, open to binaries that bring backends of their own.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use portolan::Modes;
//!
//! fn main() -> ExitCode {
//!     // `.with(ProxyMode::new("mine"), |config| MyFactory::new(config))` makes `--mode mine` known.
//!     portolan::run(&Modes::ours(), std::env::args_os())
//! }
//! ```
//!
//! Always holds: this crate decides nothing about packets. It reads the command line
//! ([`portolan_config`]), picks one of the [`Modes`], starts the parts, joins what
//! they report, and ends when one of them does. Whatever ends it, rules stay.

mod aside;
mod beside;
mod cleanup;
mod families;
mod limits;
mod logging;
mod mode;
mod modes;
mod node_address;
mod observer;
mod output;
mod page;
mod proxy;
mod reload;
mod reports;
mod selection;
mod servers;
mod service_manager;
mod setup;
mod signals;
mod source;
mod takeover;
mod tuning;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::SystemTime;

use portolan_config::{ConfigError, Environment, Invocation, Logging, ModeSelection};
use portolan_core::node::NodePortSelection;
use portolan_core::{ProxyMode, Registry};
use tracing::error;

use crate::logging::VerbosityHandle;
use crate::node_address::log_notes;
use crate::proxy::{Extent, Start};

pub use modes::Modes;
pub use portolan_config::Config;

/// Version of the proxy.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Does what the command line asks for, with these modes.
///
/// Returns when it is done, or when the process is asked to end by `SIGTERM` or
/// `SIGINT`. A fault in the command line is one line on standard error; later ones
/// are logged. Sets up logging and a panic hook for the whole process.
pub fn run(modes: &Modes, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let started = SystemTime::now();
    let args: Vec<OsString> = args.into_iter().collect();
    let names: Vec<ProxyMode> = modes.names().cloned().collect();
    let start = |config: &Config, verbosity: VerbosityHandle, extent| {
        let program = args.first().cloned();
        let (args, names) = (args.clone(), names.clone());
        let registry = modes.registry(config)?;
        let node_ports = default_node_ports(config, &registry);
        let mut config = config.clone();
        with_default(&mut config, node_ports.as_ref());
        let reread = Box::new(move || {
            let mut config = reread(&args, &names)?;
            if let Some(config) = &mut config {
                with_default(config, node_ports.as_ref());
            }
            Ok(config)
        });
        proxy::run(&config, &registry, Start { started, program, reread, verbosity, extent })
    };
    match parse(&args, &names) {
        Ok(Invocation::Help(text) | Invocation::Version(text)) => output::print(&text),
        Ok(Invocation::WriteConfig { path, yaml, notes, logging }) => {
            // Standard output may be where the configuration goes.
            logging::start(Logging { split_stream: false, ..logging });
            log_notes(&notes);
            output::write(&path, &yaml)
        }
        Ok(Invocation::Run(config)) => {
            logged(&config, |verbosity| start(&config, verbosity, Extent::Everything))
        }
        Ok(Invocation::InitOnly(config)) => {
            logged(&config, |verbosity| start(&config, verbosity, Extent::Privileged))
        }
        Ok(Invocation::Cleanup(config)) => logged(&config, |_| cleanup::run(&modes.registry(&config)?)),
        Err(problem) => output::refuse(&problem),
    }
}

fn parse(args: &[OsString], modes: &[ProxyMode]) -> Result<Invocation, ConfigError> {
    portolan_config::parse(args.iter().cloned(), &Environment { hostname: &hostname, modes })
}

/// The configuration as it is asked for now, by a command line that once asked to run.
fn reread(args: &[OsString], modes: &[ProxyMode]) -> Result<Option<Config>, ConfigError> {
    Ok(match parse(args, modes)? {
        Invocation::Run(config) => Some(*config),
        // What to do is said by flags alone, and those stay.
        _ => None,
    })
}

/// The mode's default of `nodePortAddresses`, if one was asked for.
fn default_node_ports(config: &Config, registry: &Registry) -> Option<NodePortSelection> {
    let ModeSelection::Explicit(mode) = &config.mode else { return None };
    registry.get(mode).map(|factory| factory.default_node_ports())
}

fn with_default(config: &mut Config, node_ports: Option<&NodePortSelection>) {
    if let Some(selection) = node_ports {
        config.set_default_node_ports(selection);
    }
}

/// Runs `work` with logging, after the notes about the configuration, and logs why it failed.
fn logged(config: &Config, work: impl FnOnce(VerbosityHandle) -> anyhow::Result<()>) -> ExitCode {
    let verbosity = logging::start(config.logging);
    log_notes(&config.notes);
    match work(verbosity) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!(err = format!("{problem:#}"), "portolan ends with an error");
            ExitCode::FAILURE
        }
    }
}

/// The host's name, as `uname` tells it too.
fn hostname() -> std::io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
}

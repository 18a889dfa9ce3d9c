//! The proxy as a whole, open to binaries that bring backends of their own.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use portolan_backend_nftables::NftablesFactory;
//! use portolan_core::Registry;
//!
//! fn main() -> ExitCode {
//!     let mut registry = Registry::default();
//!     // …and `registry.register(MyFactory)`, which makes `--mode mine` known.
//!     match registry.register(NftablesFactory::new()) {
//!         Ok(()) => portolan::run(&registry, std::env::args_os()),
//!         Err(error) => portolan::refuse(&error),
//!     }
//! }
//! ```
//!
//! Always holds: this crate decides nothing about packets. It reads the command line
//! ([`portolan_config`]), picks a mode from the registry, starts the parts, joins what
//! they report, and ends when one of them does. Whatever ends it, rules stay.

mod cleanup;
mod families;
mod limits;
mod logging;
mod mode;
mod observer;
mod output;
mod page;
mod proxy;
mod signals;
mod source;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::SystemTime;

use portolan_config::{Config, Environment, Invocation};
use portolan_core::Registry;
use tracing::error;

pub use output::refuse;

/// Version of the proxy.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Does what the command line asks for, with the modes in `registry`.
///
/// Returns when it is done, or when the process is asked to end by `SIGTERM` or
/// `SIGINT`. A fault in the command line is one line on standard error; later ones
/// are logged. Sets up logging and a panic hook for the whole process.
pub fn run(registry: &Registry, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let started = SystemTime::now();
    let modes: Vec<_> = registry.modes().cloned().collect();
    match portolan_config::parse(args, &Environment { hostname: &hostname, modes: &modes }) {
        Ok(Invocation::Help(text)) => output::print(&text),
        Ok(Invocation::Version(text)) => output::print(&text),
        Ok(Invocation::WriteConfig { path, yaml }) => output::write(&path, &yaml),
        Ok(Invocation::Run(config) | Invocation::InitOnly(config)) => logged(&config, || proxy::run(&config, registry, started)),
        Ok(Invocation::Cleanup(config)) => logged(&config, || cleanup::run(registry)),
        Err(problem) => refuse(&problem),
    }
}

/// Runs `work` with logging, and logs why it failed.
fn logged(config: &Config, work: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    logging::start(config.logging);
    match work() {
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

//! Where the command line and the file meet: one configuration, and whose word counts in it.
//!
//! With a file the configuration is the file's, and flags that say the same are passed over in
//! silence, as in kube-proxy. Left are flags that no field stands for, the node's name, and what is
//! said about logging, which is laid over the file's.

use std::path::Path;

use crate::bind;
use crate::error::ConfigError;
use crate::file;
use crate::flags::Bound;
use crate::kube_proxy::logging::Logging;
use crate::kube_proxy::section::Section;
use crate::kube_proxy::{KubeProxyConfiguration, defaults};
use crate::note::Note;

/// One configuration, not yet checked.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) config: KubeProxyConfiguration,
    /// What there was to say about reading it.
    pub(crate) notes: Vec<Note>,
}

/// Settles what flags and file say.
///
/// # Errors
/// The file cannot be read or understood, or the flag for the node's name is blank.
pub(crate) fn settle(bound: &Bound) -> Result<Settled, ConfigError> {
    let mut settled = if bound.file.is_empty() {
        Settled { config: of_flags(bound), notes: Vec::new() }
    } else {
        let file::File { mut config, notes } = file::load(Path::new(&bound.file))?;
        lay_logging_over(&mut config.logging, bound);
        Settled { config, notes }
    };
    if !bound.hostname_override.is_empty() {
        let name = bound.hostname_override.trim().to_lowercase();
        if name.is_empty() {
            return Err(ConfigError::EmptyHostname);
        }
        settled.config.hostname_override = name;
    }
    Ok(settled)
}

fn of_flags(bound: &Bound) -> KubeProxyConfiguration {
    let mut config = bound.config.clone();
    defaults::client(&mut config.client_connection);
    let section = config.section();
    let (period, min_period) = match section {
        Section::Ipvs => (bound.ipvs_sync_period, bound.ipvs_min_sync_period),
        Section::Iptables | Section::Nftables => (bound.sync_period, bound.min_sync_period),
    };
    let shared = config.shared_mut(section);
    *shared.sync_period = period;
    *shared.min_sync_period = min_period;
    *shared.masquerade_all = bound.masquerade_all;
    config.bind_address.clone_from(&bound.bind_address.0);
    // A configuration that is written has no room for "no server", and the ports are not asked for there.
    let is_written = !bound.write_config_to.is_empty();
    let port = |flag: i32, default: u16| if is_written { i32::from(default) } else { flag };
    config.healthz_bind_address =
        with_port(&bound.healthz_address.0, port(bound.healthz_port, bind::HEALTHZ_PORT));
    config.metrics_bind_address =
        with_port(&bound.metrics_address.0, port(bound.metrics_port, bind::METRICS_PORT));
    config
}

/// The address with this port if it has none. A port of zero means no server at all; one that cannot be
/// is left for the check to find.
fn with_port(address: &str, port: i32) -> String {
    match u16::try_from(port) {
        Ok(0) => String::new(),
        Ok(port) => bind::with_port(address, port),
        Err(_) if bind::parse(address).is_ok() => address.to_owned(),
        Err(_) => format!("{address}:{port}"),
    }
}

/// Flags win over the file; of both lists of files' verbosities, the flag's comes first.
fn lay_logging_over(logging: &mut Logging, bound: &Bound) {
    let flags = &bound.config.logging;
    if bound.is_given("v") {
        logging.verbosity = flags.verbosity;
    }
    if bound.is_given("logging-format") {
        logging.format.clone_from(&flags.format);
    }
    if bound.is_given("log-flush-frequency") {
        logging.flush_frequency = flags.flush_frequency;
    }
    let mut vmodule = flags.vmodule.0.clone();
    vmodule.append(&mut logging.vmodule.0);
    logging.vmodule.0 = vmodule;
    for (target, given, split, size) in [
        (
            &mut logging.options.text,
            &flags.options.text,
            "log-text-split-stream",
            "log-text-info-buffer-size",
        ),
        (
            &mut logging.options.json,
            &flags.options.json,
            "log-json-split-stream",
            "log-json-info-buffer-size",
        ),
    ] {
        if bound.is_given(split) {
            target.split_stream = given.split_stream;
        }
        if bound.is_given(size) {
            target.info_buffer_size = given.info_buffer_size.clone();
        }
    }
}

//! Merges the command line and the file into one configuration.
//!
//! With a file, flags that have a corresponding field are ignored without a warning, as in kube-proxy. Flags without a
//! field, the node's name and the logging flags override the file.

use std::path::Path;

use crate::bind;
use crate::error::ConfigError;
use crate::file;
use crate::flags::Bound;
use crate::kube_proxy::logging::Logging;
use crate::kube_proxy::section::Section;
use crate::kube_proxy::{KubeProxyConfiguration, defaults};
use crate::notes::Note;

/// The configuration of flags and file, not yet checked, with the notes of reading the file.
///
/// # Errors
/// The file cannot be read or decoded, or the flag for the node's name is blank.
pub(crate) fn merge(bound: &Bound) -> Result<(KubeProxyConfiguration, Vec<Note>), ConfigError> {
    let (mut config, notes) = if bound.file.is_empty() {
        (of_flags(bound), Vec::new())
    } else {
        let file::File { mut config, notes } = file::load(Path::new(&bound.file))?;
        override_logging(&mut config.logging, bound);
        (config, notes)
    };
    if !bound.hostname_override.is_empty() {
        config.hostname_override = bound.hostname_override.trim().to_lowercase();
        if config.hostname_override.is_empty() {
            return Err(ConfigError::EmptyHostname);
        }
    }
    Ok((config, notes))
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
    config.bind_address.clone_from(&bound.bind_address);
    // A written configuration cannot express that a server is disabled, and ignores the port flags.
    let is_written = !bound.write_config_to.is_empty();
    let port = |flag: i32, default: u16| if is_written { i32::from(default) } else { flag };
    config.healthz_bind_address =
        with_port(&bound.healthz_address, port(bound.healthz_port, bind::HEALTHZ_PORT));
    config.metrics_bind_address =
        with_port(&bound.metrics_address, port(bound.metrics_port, bind::METRICS_PORT));
    config
}

/// The address with this port if it has none. Port 0 disables the server; an invalid port is left for the check.
fn with_port(address: &str, port: i32) -> String {
    match u16::try_from(port) {
        Ok(0) => String::new(),
        Ok(port) => bind::with_port(address, port),
        Err(_) if bind::parse(address).is_ok() => address.to_owned(),
        Err(_) => format!("{address}:{port}"),
    }
}

/// Logging flags override the file; both lists of verbosities by file are used, the flag's first.
fn override_logging(logging: &mut Logging, bound: &Bound) {
    let flags = bound.config.logging.clone();
    let is_given = |name| bound.is_given(name);
    if is_given("v") {
        logging.verbosity = flags.verbosity;
    }
    if is_given("logging-format") {
        logging.format = flags.format;
    }
    if is_given("log-flush-frequency") {
        logging.flush_frequency = flags.flush_frequency;
    }
    logging.vmodule.0.splice(..0, flags.vmodule.0);
    if is_given("log-text-split-stream") {
        logging.options.text.split_stream = flags.options.text.split_stream;
    }
    if is_given("log-text-info-buffer-size") {
        logging.options.text.info_buffer_size = flags.options.text.info_buffer_size;
    }
    if is_given("log-json-split-stream") {
        logging.options.json.split_stream = flags.options.json.split_stream;
    }
    if is_given("log-json-info-buffer-size") {
        logging.options.json.info_buffer_size = flags.options.json.info_buffer_size;
    }
}

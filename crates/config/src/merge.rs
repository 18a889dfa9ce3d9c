//! Merges the command line and the file into one configuration.
//!
//! With a file, flags that have a corresponding field are ignored without a warning, as in kube-proxy. Flags without a
//! field, the node's name and the logging flags override the file.

use std::path::Path;

use crate::bind;
use crate::error::ConfigError;
use crate::file;
use crate::flags::{Bound, WithFile, table};
use crate::kube_proxy::section::Section;
use crate::kube_proxy::{Iptables, KubeProxyConfiguration, Nftables, defaults};
use crate::notes::Note;

/// The configuration of flags and file, not yet checked, with the notes of reading the file.
///
/// # Errors
/// The file cannot be read or decoded, or the flag for the node's name is blank.
pub(crate) fn merge(bound: &Bound) -> Result<(KubeProxyConfiguration, Vec<Note>), ConfigError> {
    let (mut config, notes) = if bound.file.is_empty() {
        (of_flags(bound), Vec::new())
    } else {
        let file::File { config, notes } = file::load(Path::new(&bound.file))?;
        (with_flags(config, bound)?, notes)
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
    if config.section() == Section::Nftables {
        // The flags for these fields set the section `iptables`; no flag sets the bit of nftables.
        let Iptables { sync_period, min_sync_period, masquerade_all, .. } = config.iptables;
        config.nftables = Nftables { masquerade_all, sync_period, min_sync_period, ..config.nftables };
    }
    // A written configuration cannot express that a server is disabled, and ignores the port flags.
    let is_written = !bound.write_config_to.is_empty();
    for (address, port, default) in [
        (&mut config.healthz_bind_address, bound.healthz_port, bind::HEALTHZ_PORT),
        (&mut config.metrics_bind_address, bound.metrics_port, bind::METRICS_PORT),
    ] {
        *address = with_port(address, if is_written { i32::from(default) } else { port });
    }
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

/// Sets the flags that are used with a file. Both lists of verbosities by file are used, the flag's first.
///
/// # Errors
/// None: the values were valid when the command line was parsed.
fn with_flags(
    mut config: KubeProxyConfiguration,
    bound: &Bound,
) -> Result<KubeProxyConfiguration, ConfigError> {
    let by_file = std::mem::take(&mut config.logging.vmodule);
    let mut merged = Bound { config, ..Bound::default() };
    for flag in table::FLAGS.iter().filter(|flag| flag.with_file == WithFile::Honoured) {
        if let Some(value) = bound.given.get(flag.name) {
            merged.set(flag, flag.name, value.clone())?;
        }
    }
    merged.config.logging.vmodule.extend(by_file);
    Ok(merged.config)
}

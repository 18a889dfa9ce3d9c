//! The fields that the flags set.

use std::collections::BTreeMap;

use super::Flag;
use super::value::VersionFlag;
use crate::bind::{HEALTHZ_PORT, METRICS_PORT};
use crate::error::ConfigError;
use crate::kube_proxy::KubeProxyConfiguration;

/// The values of all flags: those of the command line, otherwise their defaults.
///
/// Most flags set a field of the configuration; the others have a field here. In mode nftables, too, the flags for all
/// modes set the section `iptables`; see `merge`.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Bound {
    /// Fields that a file has too.
    pub(crate) config: KubeProxyConfiguration,
    /// `--config`.
    pub(crate) file: String,
    /// `--write-config-to`.
    pub(crate) write_config_to: String,
    /// `--cleanup`.
    pub(crate) cleanup: bool,
    /// `--init-only`.
    pub(crate) init_only: bool,
    /// `--master`.
    pub(crate) master: String,
    /// `--manifests`.
    pub(crate) manifests: String,
    /// `--mode-fallback`.
    pub(crate) mode_fallback: bool,
    /// `--hostname-override`, which overrides the file's.
    pub(crate) hostname_override: String,
    /// `--healthz-port`.
    pub(crate) healthz_port: i32,
    /// `--metrics-port`.
    pub(crate) metrics_port: i32,
    /// `--version`.
    pub(crate) version: VersionFlag,
    /// `--boot-id-file`.
    pub(crate) boot_id_file: String,
    /// `--machine-id-file`.
    pub(crate) machine_id_file: String,
    /// `--help`.
    pub(crate) help: bool,
    /// The flags that were on the command line, by their first name, with their last value.
    pub(crate) given: BTreeMap<&'static str, String>,
}

impl Default for Bound {
    fn default() -> Self {
        Self {
            config: KubeProxyConfiguration::with_defaults(),
            file: String::new(),
            write_config_to: String::new(),
            cleanup: false,
            init_only: false,
            master: String::new(),
            manifests: String::new(),
            mode_fallback: true,
            hostname_override: String::new(),
            healthz_port: i32::from(HEALTHZ_PORT),
            metrics_port: i32::from(METRICS_PORT),
            version: VersionFlag::No,
            boot_id_file: "/proc/sys/kernel/random/boot_id".to_owned(),
            machine_id_file: "/etc/machine-id,/var/lib/dbus/machine-id".to_owned(),
            help: false,
            given: BTreeMap::new(),
        }
    }
}

impl Bound {
    /// Whether the flag of this name was on the command line.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Sets a flag, which was `typed` so, to this value.
    ///
    /// # Errors
    /// The value is not valid for the flag.
    pub(crate) fn set(&mut self, flag: &Flag, typed: &str, value: String) -> Result<(), ConfigError> {
        let again = self.is_given(flag.name);
        if let Err(reason) = (flag.value)(self).set(&value, again) {
            return Err(ConfigError::InvalidValue { flag: typed.to_owned(), value, reason });
        }
        self.given.insert(flag.name, value);
        Ok(())
    }
}

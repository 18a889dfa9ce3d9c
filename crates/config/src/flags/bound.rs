//! The fields that the flags set.

use std::collections::BTreeSet;

use super::value::VersionFlag;
use crate::bind::{HEALTHZ_PORT, METRICS_PORT};
use crate::duration::GoDuration;
use crate::kube_proxy::{KubeProxyConfiguration, defaults};

/// The values of all flags: those of the command line, otherwise their defaults.
///
/// Most flags set a field of the configuration; the others have a field here.
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
    /// `--bind-address`.
    pub(crate) bind_address: String,
    /// `--healthz-bind-address`.
    pub(crate) healthz_address: String,
    /// `--metrics-bind-address`.
    pub(crate) metrics_address: String,
    /// `--healthz-port`.
    pub(crate) healthz_port: i32,
    /// `--metrics-port`.
    pub(crate) metrics_port: i32,
    /// `--masquerade-all`, for every mode.
    pub(crate) masquerade_all: bool,
    /// `--iptables-sync-period`, for all modes but ipvs.
    pub(crate) sync_period: GoDuration,
    /// `--iptables-min-sync-period`, for all modes but ipvs.
    pub(crate) min_sync_period: GoDuration,
    /// `--ipvs-sync-period`.
    pub(crate) ipvs_sync_period: GoDuration,
    /// `--ipvs-min-sync-period`.
    pub(crate) ipvs_min_sync_period: GoDuration,
    /// `--version`.
    pub(crate) version: VersionFlag,
    /// `--boot-id-file`.
    pub(crate) boot_id_file: String,
    /// `--machine-id-file`.
    pub(crate) machine_id_file: String,
    /// `--help`.
    pub(crate) help: bool,
    /// The flags that were on the command line, by their first name.
    pub(crate) given: BTreeSet<&'static str>,
}

impl Default for Bound {
    fn default() -> Self {
        let config = KubeProxyConfiguration::with_defaults();
        Self {
            bind_address: config.bind_address.clone(),
            healthz_address: config.healthz_bind_address.clone(),
            metrics_address: config.metrics_bind_address.clone(),
            config,
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
            masquerade_all: false,
            sync_period: defaults::SYNC_PERIOD,
            min_sync_period: defaults::MIN_SYNC_PERIOD,
            ipvs_sync_period: defaults::SYNC_PERIOD,
            ipvs_min_sync_period: defaults::MIN_SYNC_PERIOD,
            version: VersionFlag::No,
            boot_id_file: "/proc/sys/kernel/random/boot_id".to_owned(),
            machine_id_file: "/etc/machine-id,/var/lib/dbus/machine-id".to_owned(),
            help: false,
            given: BTreeSet::new(),
        }
    }
}

impl Bound {
    /// Whether the flag of this name was on the command line.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }
}

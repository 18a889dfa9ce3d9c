//! The modes that a binary has, each made when the configuration is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_backend_iptables::{self as iptables, IptablesFactory};
use portolan_backend_ipvs::{self as ipvs, IpvsFactory};
use portolan_backend_nftables::NftablesFactory;
use portolan_backend_userspace::{self as userspace, UserspaceFactory};
use portolan_config::{Config, IptablesSettings, IpvsSettings, ServiceAddresses, UserspaceSettings};
use portolan_core::registry::DuplicateMode;
use portolan_core::{BackendFactory, ProxyMode, Registry};

/// The modes that are tried when none is asked for, best first.
pub(crate) const PREFERENCE: [ProxyMode; 3] =
    [ProxyMode::NFTABLES, ProxyMode::IPTABLES, ProxyMode::USERSPACE];

/// Makes a mode for a configuration.
type Make = Arc<dyn Fn(&Config) -> Arc<dyn BackendFactory> + Send + Sync>;

/// The modes that a binary has, by the names that `--mode` takes.
///
/// A value, not a global: a binary makes its own, with its own backends beside ours or instead of them.
#[derive(Clone, Default)]
pub struct Modes {
    modes: BTreeMap<ProxyMode, Make>,
}

impl Modes {
    /// No modes at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// All of ours, as the binary `portolan` has them.
    pub fn ours() -> Self {
        Self::none()
            .with(ProxyMode::NFTABLES, |_| NftablesFactory::new())
            .with(ProxyMode::IPTABLES, |config| IptablesFactory::new(iptables_settings(config.iptables)))
            .with(ProxyMode::IPVS, |config| IpvsFactory::new(ipvs_options(&config.ipvs)))
            .with(ProxyMode::USERSPACE, |config| UserspaceFactory::new(userspace_options(config.userspace)))
    }

    /// Also this mode, whose factory is made by `make` when the configuration is known and goes by the same
    /// name. It takes the place of one that has the name already.
    #[must_use]
    pub fn with<F: BackendFactory + 'static>(
        mut self,
        mode: ProxyMode,
        make: impl Fn(&Config) -> F + Send + Sync + 'static,
    ) -> Self {
        self.modes.insert(mode, Arc::new(move |config| Arc::new(make(config))));
        self
    }

    /// Their names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ProxyMode> {
        self.modes.keys()
    }

    /// All of them, made for this configuration.
    ///
    /// # Errors
    /// Two factories go by one name, which is not the one that they were registered by.
    pub(crate) fn registry(&self, config: &Config) -> Result<Registry, DuplicateMode> {
        let mut registry = Registry::default();
        for make in self.modes.values() {
            registry.register(make(config))?;
        }
        Ok(registry)
    }
}

fn iptables_settings(IptablesSettings { localhost_node_ports }: IptablesSettings) -> iptables::Settings {
    iptables::Settings { localhost_node_ports }
}

fn ipvs_options(settings: &IpvsSettings) -> ipvs::Options {
    let IpvsSettings { scheduler, exclude_cidrs, strict_arp, tcp_timeout, tcp_fin_timeout, udp_timeout } =
        settings.clone();
    let timeouts = ipvs::Timeouts { tcp: tcp_timeout, tcp_fin: tcp_fin_timeout, udp: udp_timeout };
    ipvs::Options { scheduler, exclude_cidrs, strict_arp, timeouts }
}

fn userspace_options(settings: UserspaceSettings) -> userspace::Options {
    let UserspaceSettings {
        addresses,
        max_sessions,
        max_sessions_per_service,
        udp_timeout,
        udp_single_timeout,
    } = settings;
    let addresses = match addresses {
        ServiceAddresses::Made => userspace::Addresses::Made,
        ServiceAddresses::Prepared => userspace::Addresses::Prepared,
    };
    let options = userspace::Options::default();
    userspace::Options {
        addresses,
        max_sessions,
        max_sessions_per_service,
        udp_timeout,
        udp_single_timeout,
        ..options
    }
}

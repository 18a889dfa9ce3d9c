//! Makes iptables backends, and finds out whether the programs work here.

use async_trait::async_trait;
use portolan_core::{BackendError, BackendFactory, IpFamily, ProbeFailure, ProxyBackend, ProxyMode};

/// What this mode alone is configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `iptables.localhostNodePorts`: IPv4 node ports answer on loopback addresses, too. That needs
    /// `net.ipv4.conf.all.route_localnet`, which is then set.
    pub localhost_node_ports: bool,
}

impl Default for Settings {
    /// kube-proxy's defaults.
    fn default() -> Self {
        Self { localhost_node_ports: true }
    }
}

/// `--mode iptables`.
#[derive(Debug, Default)]
pub struct IptablesFactory {
    settings: Settings,
}

impl IptablesFactory {
    /// A factory that has looked at nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

#[async_trait]
impl BackendFactory for IptablesFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPTABLES
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        Err(ProbeFailure { mode: self.mode(), missing: format!("the backend for {:?}", self.settings) })
    }

    fn leaves_flows(&self) -> bool {
        true
    }

    fn create(&self, _family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        Err(BackendError::Unsupported { mode: self.mode(), missing: "the backend".into() })
    }
}

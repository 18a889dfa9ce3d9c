//! Makes iptables backends, and finds out whether the programs work here.

use std::fs;

use async_trait::async_trait;
use portolan_core::backend::error_chain;
use portolan_core::{BackendError, BackendFactory, IpFamily, ProbeFailure, ProxyBackend, ProxyMode};
use portolan_host::{Host, iptables};

use crate::backend::IptablesBackend;
use crate::nfacct;
use crate::options::Options;
use crate::programs::{self, Programs};

/// Whether connection tracking takes packets that fit no window; they are then not to be dropped.
const BE_LIBERAL: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";

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

/// `--mode iptables`, by whichever kind of iptables goes by the plain name.
#[derive(Debug, Default)]
pub struct IptablesFactory {
    settings: Settings,
}

impl IptablesFactory {
    /// A factory that has looked at nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// What rules depend on, on this host.
    fn options(&self) -> Options {
        Options {
            localhost_node_ports: self.settings.localhost_node_ports,
            drop_invalid: !is_liberal(),
            random_fully: true,
            counters: nfacct::make(),
        }
    }
}

/// Whether one family's programs are there and list a chain.
fn try_family(family: IpFamily) -> Result<(), String> {
    Programs::find(family).map_err(|error| error_chain(&error))?;
    iptables::probe(family).map_err(|missing| missing.to_string())
}

#[async_trait]
impl BackendFactory for IptablesFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPTABLES
    }

    /// One family is enough, as for kube-proxy: the other may be switched off in the kernel.
    async fn probe(&self) -> Result<(), ProbeFailure> {
        let Err(missing) = try_family(IpFamily::V4) else { return Ok(()) };
        try_family(IpFamily::V6).map_err(|_missing| ProbeFailure { mode: self.mode(), missing })
    }

    fn leaves_flows(&self) -> bool {
        true
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let programs = Programs::find(family)
            .map_err(|error| BackendError::Unsupported { mode: self.mode(), missing: error_chain(&error) })?;
        tracing::info!(
            family = %family,
            version = %programs.version(),
            variant = %programs.variant(),
            "rules are written by iptables"
        );
        Ok(Box::new(IptablesBackend::new(family, programs, self.options()).with_host(Host::new())))
    }

    /// Without the programs: those that wrote the rules may be gone.
    async fn cleanup(&self, family: IpFamily) -> Result<(), BackendError> {
        programs::clean(family)
    }
}

fn is_liberal() -> bool {
    let setting = fs::read_to_string(BE_LIBERAL);
    setting.is_ok_and(|text| !matches!(text.trim(), "" | "0"))
}

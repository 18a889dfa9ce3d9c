//! Creates iptables backends, checks whether the programs work on this host, and sets the sysctl that they need.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use portolan_core::backend::{CleanupReport, Metric};
use portolan_core::node::{NodeConfig, NodePortSelection};
use portolan_core::{BackendError, BackendFactory, IpFamily, ProbeFailure, ProxyBackend, ProxyMode};
use portolan_host::Host;
use portolan_iptables::stale::{ForeignChains, Mode};

use crate::backend::{IptablesBackend, route_localnet};
use crate::names::{Chain, Fixed};
use crate::nfacct::{self, CountersInUse};
use crate::options::Options;
use crate::programs::{self, Programs, Version};
use crate::stale;
use crate::watched::Watched;

/// Whether connection tracking accepts packets outside the TCP window, which rules must not drop then.
const BE_LIBERAL: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";

/// The settings of this mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `iptables.localhostNodePorts`: IPv4 node ports also answer on loopback addresses. That needs
    /// `net.ipv4.conf.all.route_localnet`, which is then set.
    pub localhost_node_ports: bool,
}

impl Default for Settings {
    /// kube-proxy's defaults.
    fn default() -> Self {
        Self { localhost_node_ports: true }
    }
}

/// `--proxy-mode iptables`, with the variant that the host has as `iptables`.
#[derive(Debug, Default)]
pub struct IptablesFactory {
    settings: Settings,
    counters_in_use: Arc<CountersInUse>,
    foreign: Mutex<ForeignChains>,
}

impl IptablesFactory {
    /// A factory with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Whether node ports answer on loopback addresses. The Node object is not known yet: its own addresses, which
    /// `primary` selects, are no loopback addresses.
    fn serves_loopback(&self, node: &NodeConfig) -> bool {
        let options =
            Options { localhost_node_ports: self.settings.localhost_node_ports, ..Options::default() };
        let addresses = node.settings(IpFamily::V4, None, []).node_port_addresses;
        node.node_port_addresses != NodePortSelection::Primary
            && options.serves_loopback(IpFamily::V4, &addresses)
    }

    fn prepare(&self, host: &Host, node: &NodeConfig) -> Result<(), BackendError> {
        if !self.serves_loopback(node) {
            return Ok(());
        }
        route_localnet(host)
            .map_err(|error| BackendError::refused("let node ports answer on loopback addresses", error))
    }

    /// What rules depend on on this host.
    fn options(&self) -> Options {
        Options {
            localhost_node_ports: self.settings.localhost_node_ports,
            drop_invalid: !is_liberal(),
            random_fully: true,
            counters: nfacct::create(),
        }
    }
}

#[async_trait]
impl BackendFactory for IptablesFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPTABLES
    }

    /// One family is enough, as for kube-proxy: the other may be disabled in the kernel.
    async fn probe(&self) -> Result<(), ProbeFailure> {
        programs::probe_any().map_err(|missing| ProbeFailure { mode: self.mode(), missing })
    }

    async fn probe_family(&self, family: IpFamily) -> Result<(), ProbeFailure> {
        programs::probe(family).map_err(|missing| ProbeFailure { mode: self.mode(), missing })
    }

    fn kernel_keeps_udp_flows(&self) -> bool {
        true
    }

    async fn prepare_host(&self, node: &NodeConfig) -> Result<(), BackendError> {
        self.prepare(&Host::new(), node)
    }

    /// Also true for kube-proxy's rules: they have the same canaries.
    async fn is_forwarding(&self, family: IpFamily) -> Result<bool, BackendError> {
        let canary = format!(":{} ", Chain::Fixed(Fixed::Canary));
        let mut has_canary = false;
        let saved = programs(family)?.0.save(&mut |line| has_canary |= line.starts_with(&canary));
        saved.map(|()| has_canary).map_err(|error| BackendError::unread("tables of iptables", error))
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let (programs, version) = programs(family)?;
        tracing::info!(
            ipFamily = %family,
            %version,
            variant = %programs.variant(),
            "Using iptables"
        );
        let backend = IptablesBackend::new(family, Watched::new(programs), self.options());
        Ok(Box::new(backend.with_host(Host::new()).with_counters_in_use(Arc::clone(&self.counters_in_use))))
    }

    /// Packets that nfacct counters have counted. Counters that no programmed rule names are left out.
    fn metrics(&self) -> Vec<Metric> {
        self.counters_in_use.metrics()
    }

    fn default_node_ports(&self) -> NodePortSelection {
        NodePortSelection::Cidrs(Vec::new())
    }

    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        stale::remove(running, family)
    }

    async fn foreign_rules(
        &self,
        running: &ProxyMode,
        family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        foreign.beside(running, Mode::Iptables, family)
    }

    fn has_kube_proxys_names(&self) -> bool {
        true
    }
}

fn programs(family: IpFamily) -> Result<(Programs, Version), BackendError> {
    Programs::find_with_version(family).map_err(|error| BackendError::io("run iptables", error))
}

fn is_liberal() -> bool {
    let setting = fs::read_to_string(BE_LIBERAL);
    setting.is_ok_and(|text| !matches!(text.trim(), "" | "0"))
}

#[cfg(test)]
mod tests {
    use portolan_core::backend::error_chain;

    use super::*;

    const FILE: &str = "proc/sys/net/ipv4/conf/all/route_localnet";

    /// The sysctl's value, which was `0`, after the host was prepared.
    fn prepared(localhost_node_ports: bool, selection: NodePortSelection) -> String {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(FILE);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "0\n").unwrap();
        let node = NodeConfig { node_port_addresses: selection, ..NodeConfig::new("node1") };
        let factory = IptablesFactory::new(Settings { localhost_node_ports });
        factory.prepare(&Host::at(root.path()), &node).unwrap();
        fs::read_to_string(file).unwrap().trim().to_owned()
    }

    fn cidrs(texts: &[&str]) -> NodePortSelection {
        NodePortSelection::Cidrs(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn route_localnet_is_set_where_node_ports_answer_on_loopback() {
        for addresses in [cidrs(&[]), cidrs(&["0.0.0.0/0"]), cidrs(&["127.0.0.0/8"]), cidrs(&["fd00::/8"])] {
            assert_eq!(prepared(true, addresses.clone()), "1", "{addresses:?}");
            assert_eq!(prepared(false, addresses.clone()), "0", "{addresses:?}");
        }
        for addresses in [cidrs(&["192.0.2.0/24"]), NodePortSelection::Primary] {
            assert_eq!(prepared(true, addresses.clone()), "0", "{addresses:?}");
        }
    }

    #[test]
    fn a_sysctl_that_cannot_be_set_is_named_in_the_error() {
        let root = tempfile::tempdir().unwrap();
        let node = NodeConfig { node_port_addresses: cidrs(&[]), ..NodeConfig::new("node1") };
        let error = IptablesFactory::default().prepare(&Host::at(root.path()), &node).unwrap_err();
        let said = error_chain(&error);
        assert!(said.contains("cannot set /proc/sys/net/ipv4/conf/all/route_localnet to 1"), "{said}");
    }
}

//! Makes iptables backends, and finds out whether the programs work here. Sets the one sysctl that they need.

use std::fs;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use portolan_core::backend::{CleanupReport, Metric};
use portolan_core::node::{NodeConfig, NodePortSelection};
use portolan_core::{
    BackendError, BackendFactory, IpFamily, PerFamily, ProbeFailure, ProxyBackend, ProxyMode,
};
use portolan_host::Host;
use portolan_leftovers::{ForeignWatch, Part, Variant};

use crate::backend::IptablesBackend;
use crate::localnet;
use crate::names::{Chain, Fixed};
use crate::nfacct::{self, Counting};
use crate::options::Options;
use crate::programs::Programs;
use crate::tables::Tables as _;
use crate::watched::Watched;

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
    counting: Arc<Counting>,
    stale: StaleChains,
}

impl IptablesFactory {
    /// A factory that has looked at nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Whether node ports answer on loopback addresses, as far as can be told without the Node: its own
    /// addresses, which `primary` stands for, are none of them.
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
        localnet::route(host)
            .map_err(|error| BackendError::refused("let node ports answer on loopback addresses", error))
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

#[async_trait]
impl BackendFactory for IptablesFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPTABLES
    }

    /// One family is enough, as for kube-proxy: the other may be switched off in the kernel.
    async fn probe(&self) -> Result<(), ProbeFailure> {
        let Err(missing) = Programs::probe(IpFamily::V4) else { return Ok(()) };
        Programs::probe(IpFamily::V6).map_err(|_missing| ProbeFailure { mode: self.mode(), missing })
    }

    async fn probe_family(&self, family: IpFamily) -> Result<(), ProbeFailure> {
        Programs::probe(family).map_err(|missing| ProbeFailure { mode: self.mode(), missing })
    }

    fn kernel_keeps_udp_flows(&self) -> bool {
        true
    }

    async fn prepare_host(&self, node: &NodeConfig) -> Result<(), BackendError> {
        self.prepare(&Host::new(), node)
    }

    /// kube-proxy's rules count, too: they have the same canaries.
    async fn is_forwarding(&self, family: IpFamily) -> Result<bool, BackendError> {
        let canary = format!(":{} ", Chain::Fixed(Fixed::Canary));
        let mut has_canary = false;
        let saved = programs(family)?.save(&mut |line| has_canary |= line.starts_with(&canary));
        saved.map(|()| has_canary).map_err(|error| BackendError::unread("tables of iptables", error))
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let programs = programs(family)?;
        tracing::info!(
            family = %family,
            version = %programs.version(),
            variant = %programs.variant(),
            "rules are written by iptables"
        );
        let backend = IptablesBackend::new(family, Watched::new(programs), self.options());
        Ok(Box::new(backend.with_host(Host::new()).with_counting(Arc::clone(&self.counting))))
    }

    /// Packets that counters of nfacct have counted, as far as rules name these.
    fn metrics(&self) -> Vec<Metric> {
        self.counting.metrics()
    }

    fn default_node_ports(&self) -> NodePortSelection {
        NodePortSelection::Cidrs(Vec::new())
    }

    /// The chains of the iptables and ipvs modes, which lead to each other. Beside ipvs mode that mode removes them.
    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        if running == Some(&ProxyMode::IPVS) {
            return CleanupReport::default();
        }
        self.stale.remove(running, family)
    }

    async fn foreign_rules(
        &self,
        running: &ProxyMode,
        family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {
        self.stale.foreign_rules(Part::Iptables, running, family)
    }

    fn has_kube_proxys_names(&self) -> bool {
        true
    }
}

/// Finds stale chains of the iptables and ipvs modes, and those that another proxy writes now.
#[derive(Debug, Default)]
pub struct StaleChains {
    variants: PerFamily<OnceLock<Option<Variant>>>,
    watch: Mutex<ForeignWatch>,
}

impl StaleChains {
    /// Removes them but for those of the running mode.
    pub fn remove(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        let own = match running.and_then(|running| self.own(running, family)) {
            None => None,
            Some((part, Some(variant))) => Some((part, variant)),
            // The running mode does not serve this family; which of the chains would be its own is not known.
            Some((_, None)) => return CleanupReport::default(),
        };
        portolan_leftovers::remove_chains(own, family).into_iter().collect()
    }

    /// See [`BackendFactory::foreign_rules`], for the mode of `part`.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn foreign_rules(
        &self,
        part: Part,
        running: &ProxyMode,
        family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.version(part, family, self.own(running, family))
    }

    /// The running mode, if its chains have kube-proxy's names, and the kind of iptables that it writes by.
    fn own(&self, running: &ProxyMode, family: IpFamily) -> Option<(Part, Option<Variant>)> {
        let parts = [(ProxyMode::IPTABLES, Part::Iptables), (ProxyMode::IPVS, Part::Ipvs)];
        let (_, part) = parts.into_iter().find(|(mode, _)| mode == running)?;
        let find = || Programs::find(family).ok().map(|programs| programs.variant());
        Some((part, *self.variants[family].get_or_init(find)))
    }
}

fn programs(family: IpFamily) -> Result<Programs, BackendError> {
    Programs::find(family).map_err(|error| BackendError::io("run iptables", error))
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

    /// What the sysctl holds when a host that had `0` there was prepared.
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
    fn a_host_is_prepared_for_node_ports_on_loopback_where_they_answer_there() {
        for addresses in [cidrs(&[]), cidrs(&["0.0.0.0/0"]), cidrs(&["127.0.0.0/8"]), cidrs(&["fd00::/8"])] {
            assert_eq!(prepared(true, addresses.clone()), "1", "{addresses:?}");
            assert_eq!(prepared(false, addresses.clone()), "0", "{addresses:?}");
        }
        for addresses in [cidrs(&["192.0.2.0/24"]), NodePortSelection::Primary] {
            assert_eq!(prepared(true, addresses.clone()), "0", "{addresses:?}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_prepared_has_the_sysctl_named() {
        let root = tempfile::tempdir().unwrap();
        let node = NodeConfig { node_port_addresses: cidrs(&[]), ..NodeConfig::new("node1") };
        let error = IptablesFactory::default().prepare(&Host::at(root.path()), &node).unwrap_err();
        let said = error_chain(&error);
        assert!(said.contains("cannot set /proc/sys/net/ipv4/conf/all/route_localnet to 1"), "{said}");
    }
}

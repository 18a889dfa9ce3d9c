//! What virtual servers depend on besides the plan: the host's addresses and the configuration.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use portolan_core::ServicePortName;
use portolan_core::plan::{NodePortAddresses, NodeSettings, ServicePort};
use portolan_ipvs::{ServerKey, ServerSettings, Timeouts, server_flag};

/// The scheduler that hashes clients: by address and, as in kube-proxy, by port.
const MAGLEV: &str = "mh";

/// The default scheduler: round robin.
const DEFAULT_SCHEDULER: &str = "rr";

/// The configuration of this mode: `ipvs.*` of kube-proxy's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `ipvs.scheduler`, as the kernel calls it; empty stands for `rr`.
    pub scheduler: String,
    /// `ipvs.excludeCIDRs`: virtual servers in these ranges are never removed.
    pub exclude_cidrs: Vec<IpNet>,
    /// `ipvs.strictARP`: the node answers ARP requests only on the interface that has the address.
    pub strict_arp: bool,
    /// `ipvs.tcpTimeout`, `ipvs.tcpFinTimeout` and `ipvs.udpTimeout`; zero leaves the kernel's own.
    pub timeouts: Timeouts,
}

impl Options {
    /// The scheduler's name.
    pub(crate) fn scheduler(&self) -> Arc<str> {
        if self.scheduler.is_empty() { DEFAULT_SCHEDULER.into() } else { self.scheduler.as_str().into() }
    }

    /// Whether virtual servers at this address are never removed.
    pub(crate) fn excludes(&self, address: IpAddr) -> bool {
        self.exclude_cidrs.iter().any(|net| net.contains(&address))
    }
}

/// The addresses of one family on this host, except for link-local ones of IPv6, which are meaningful on their
/// interface only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostAddresses {
    /// Those of our device.
    pub on_device: HashSet<IpAddr>,
    /// All others.
    pub elsewhere: HashSet<IpAddr>,
}

impl HostAddresses {
    /// Whether an address identifies a host by itself.
    pub(crate) fn counts(ip: IpAddr) -> bool {
        !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
    }

    /// Adds an address.
    pub(crate) fn insert(&mut self, ip: IpAddr, is_on_device: bool) {
        if Self::counts(ip) {
            let set = if is_on_device { &mut self.on_device } else { &mut self.elsewhere };
            set.insert(ip);
        }
    }
}

/// The node's own addresses, and how virtual servers choose.
#[derive(Debug, Clone)]
pub(crate) struct NodeContext {
    /// The node's own addresses, which our device does not get as well.
    pub(crate) elsewhere: HashSet<IpAddr>,
    /// Those of them that answer on node ports, sorted.
    pub(crate) node_ips: Vec<IpAddr>,
    /// The plan's settings of the node, which include the addresses of the API server.
    pub(crate) node: NodeSettings,
    /// Where an address of a Service is the node's own, its port is no other Service's node port.
    pub(crate) taken: HashSet<ServerKey>,
    scheduler: Arc<str>,
}

impl NodeContext {
    pub(crate) fn new(elsewhere: HashSet<IpAddr>, node: &NodeSettings, options: &Options) -> Self {
        let answers = |ip: &&IpAddr| match &node.node_port_addresses {
            NodePortAddresses::All => true,
            NodePortAddresses::Within(nets) => nets.iter().any(|net| net.contains(*ip)),
        };
        let usable = |ip: &&IpAddr| !ip.is_loopback();
        let mut node_ips: Vec<_> = elsewhere.iter().filter(usable).filter(answers).copied().collect();
        node_ips.sort_unstable();
        Self {
            elsewhere,
            node_ips,
            node: node.clone(),
            taken: HashSet::new(),
            scheduler: options.scheduler(),
        }
    }

    /// How a virtual server chooses with this session affinity.
    pub(crate) fn settings(&self, affinity: Option<std::time::Duration>) -> ServerSettings {
        let hashing = if &*self.scheduler == MAGLEV { server_flag::HASH_PORT } else { 0 };
        let persistent = if affinity.is_some() { server_flag::PERSISTENT } else { 0 };
        ServerSettings {
            scheduler: Arc::clone(&self.scheduler),
            flags: hashing | persistent,
            timeout: affinity.unwrap_or_default(),
        }
    }
}

/// The virtual servers of a service port at addresses that are the node's own, but for those of its node port.
pub(crate) fn own_servers(
    name: &ServicePortName,
    port: &ServicePort,
    context: &NodeContext,
) -> Vec<ServerKey> {
    let all = port.cluster_ip.into_iter().chain(port.external_addresses());
    let own = all.filter(|ip| context.elsewhere.contains(ip));
    own.map(|address| ServerKey { protocol: name.protocol, address, port: port.port }).collect()
}

#[cfg(test)]
mod tests {
    use portolan_core::IpFamily;
    use portolan_core::node::NodeConfig;

    use super::*;

    fn settings(node_port_addresses: NodePortAddresses) -> NodeSettings {
        NodeSettings { node_port_addresses, ..NodeConfig::new("n1").settings(IpFamily::V4, None, []) }
    }

    fn node_ips(selection: &NodePortAddresses) -> Vec<String> {
        let all = ["127.0.0.1", "192.0.2.1", "198.51.100.1", "::1", "fe80::1", "2001:db8::1"];
        let mut addresses = HostAddresses::default();
        for ip in all {
            addresses.insert(ip.parse().unwrap(), false);
        }
        let node_context =
            NodeContext::new(addresses.elsewhere, &settings(selection.clone()), &Options::default());
        node_context.node_ips.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn node_ports_answer_at_the_selected_addresses_but_never_at_loopback() {
        assert_eq!(node_ips(&NodePortAddresses::All), ["192.0.2.1", "198.51.100.1", "2001:db8::1"]);
        let within = |net: &str| NodePortAddresses::Within(vec![net.parse().unwrap()]);
        assert_eq!(node_ips(&within("192.0.2.0/24")), ["192.0.2.1"]);
        assert_eq!(node_ips(&within("127.0.0.0/8")), [""; 0]);
    }

    #[test]
    fn clients_that_keep_their_endpoint_make_a_server_persistent_and_maglev_hashes_ports() {
        let of = |scheduler: &str| {
            let options = Options { scheduler: scheduler.to_owned(), ..Options::default() };
            NodeContext::new(HashSet::new(), &settings(NodePortAddresses::All), &options)
        };
        let hours = std::time::Duration::from_secs(10_800);
        let settings = of("").settings(Some(hours));
        assert_eq!((&*settings.scheduler, settings.flags, settings.timeout), ("rr", 1, hours));
        assert_eq!(of("mh").settings(None).flags, 0x10);
        assert_eq!(of("mh").settings(Some(hours)).flags, 0x11);
    }
}

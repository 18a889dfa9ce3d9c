//! The part of the table that does not grow: its sets, and the chains that use them.
//!
//! | set or map | key | holds |
//! |---|---|---|
//! | `services` | address . protocol . port | the class of each VIP |
//! | `nodeports` | protocol . port | the class of each node port |
//! | `endpoints` | address . protocol . port . slot | endpoint of each slot of a VIP |
//! | `nodeport-endpoints` | protocol . port . slot | the same for node ports |
//! | `local-endpoints`, `nodeport-local-endpoints` | as the two above | their slots for traffic from outside under the Local policy |
//! | `no-endpoint-services` | address . protocol . port | VIPs without endpoints: refused |
//! | `no-endpoint-nodeports` | protocol . port | node ports without endpoints: refused |
//! | `no-local-endpoint-services` | address . protocol . port | cluster IPs that need a local endpoint and have none: dropped |
//! | `restricted-services` | address . protocol . port | VIPs that are open to some sources alone |
//! | `source-ranges` | address . protocol . port . source range | those sources |
//! | `affinity-services` | address . protocol . port | where to learn a client's endpoint (`affinity.rs`) |
//! | `affinity-nodeports` | protocol . port | the same for node ports |
//! | `hairpin` | address . address | endpoints that may reach themselves |
//! | `cluster-ips` | address | all cluster IPs |
//! | `nodeport-ips` | address ranges | where node ports answer, if not everywhere |
//! | `service-cidrs` | address ranges | where cluster IPs come from |
//!
//! The way of a connection's first packet through the chains:
//!
//! ```text
//! dstnat − 10  filter-prerouting, filter-output   source ranges, then refusals and drops
//! dstnat       nat-prerouting, nat-output         services: VIP or node port → class → endpoint
//! dstnat + 10  learn-prerouting, learn-output     affinity: which endpoint it got
//! dstnat − 10  filter-input                       refusals of node ports
//! filter       filter-forward, refuse-output      other ports and addresses of the cluster
//! srcnat       nat-postrouting                    masquerading
//! ```

use std::sync::Arc;

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_core::plan::{NodePortAddresses, NodeSettings};
use portolan_nft::{Bytes, Chain, Element, Family, Rule, Selector, Set, TableId};

mod chains;
pub mod condition;
mod container;

pub use container::{Container, ENDPOINTS, LOCAL_ENDPOINTS, NODEPORT_ENDPOINTS, NODEPORT_LOCAL_ENDPOINTS};

/// The name of our table in either family.
pub const TABLE: &str = "portolan";
/// Ranges that node ports are confined to.
const NODEPORT_IPS: &str = "nodeport-ips";
/// Ranges that cluster IPs come from.
const SERVICE_CIDRS: &str = "service-cidrs";
/// Chain that marks a packet for masquerading.
pub const MARK_MASQUERADE: &str = "mark-masquerade";
/// Chain that marks traffic to cluster IPs as configured.
pub const MARK_CLUSTER_TRAFFIC: &str = "mark-cluster-traffic";

/// The sets of one family, and what its chains are made from.
#[derive(Debug)]
pub struct Layout {
    /// The IP family.
    pub family: IpFamily,
    containers: [Arc<Set>; Container::ALL.len()],
    nodeport_ips: Arc<Set>,
    service_cidrs: Arc<Set>,
}

impl Layout {
    /// The layout of one family.
    pub fn new(family: IpFamily) -> Self {
        let ranges = |name| Arc::new(Set::intervals(name, [Selector::Daddr]));
        Self {
            family,
            containers: Container::ALL.map(|container| Arc::new(container.set())),
            nodeport_ips: ranges(NODEPORT_IPS),
            service_cidrs: ranges(SERVICE_CIDRS),
        }
    }

    /// Which table it is.
    pub fn table(&self) -> TableId {
        TableId::new(nft_family(self.family), TABLE)
    }

    /// nft's name for the family.
    pub fn family(&self) -> Family {
        nft_family(self.family)
    }

    /// The set of one container.
    pub fn set(&self, container: Container) -> &Arc<Set> {
        &self.containers[container as usize]
    }

    /// All sets.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<Set>> {
        self.containers.iter().chain([&self.nodeport_ips, &self.service_cidrs])
    }

    /// The sets that follow the node's settings, with what they hold, sorted.
    pub fn ranges(&self, settings: &NodeSettings) -> [(&Arc<Set>, Vec<Element>); 2] {
        let node_ports: &[IpNet] = match &settings.node_port_addresses {
            NodePortAddresses::All => &[],
            NodePortAddresses::Within(nets) => nets,
        };
        let elements = |nets: &[IpNet]| {
            let range = |net: &IpNet| Element::prefix(Bytes::addr(net.network()), net.prefix_len().into());
            nets.iter().map(range).collect()
        };
        [(&self.nodeport_ips, elements(node_ports)), (&self.service_cidrs, elements(&settings.service_cidrs))]
    }

    /// All chains that are not made for services, each with its rules. A chain comes after
    /// those it jumps to.
    pub fn chains(&self, settings: &NodeSettings) -> Vec<(Chain, Vec<Rule>)> {
        chains::all(self.family, settings)
    }
}

/// nft's name for an IP family.
pub fn nft_family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    }
}

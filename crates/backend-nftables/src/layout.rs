//! The part of the table that does not grow: its sets, and the chains that use them.
//!
//! | set or map | key | holds |
//! |---|---|---|
//! | `services` | address . protocol . port | the class of each VIP, or how it is rejected |
//! | `nodeports` | protocol . port | the same for each node port |
//! | `endpoints` | address . protocol . port . slot | endpoint of each slot of a VIP |
//! | `nodeport-endpoints` | protocol . port . slot | the same for node ports |
//! | `local-endpoints`, `nodeport-local-endpoints` | as the two above | their slots for traffic from outside under the Local policy |
//! | `restricted-services` | address . protocol . port | VIPs with source ranges |
//! | `source-ranges` | address . protocol . port . source range | the source ranges |
//! | `affinity-services` | address . protocol . port | where to learn a client's endpoint (`dedicated.rs`) |
//! | `affinity-nodeports` | protocol . port | the same for node ports |
//! | `hairpin` | address . address | endpoints that may connect to themselves |
//! | `cluster-ips` | address | all cluster IPs |
//! | `nodeport-ips` | address ranges | where node ports answer, if not everywhere |
//! | `service-cidrs` | address ranges | where cluster IPs come from |
//!
//! A service port with session affinity, or with many addresses, has dedicated chains and maps as well
//! (`dedicated.rs`).
//!
//! A VIP or node port without endpoints leads to `refuse`, or to `ignore` if other nodes must serve it.
//!
//! The path of a connection's first packet through the chains:
//!
//! ```text
//! dstnat − 10  source-check-prerouting, -output   source ranges, while there are any
//! dstnat       nat-prerouting, nat-output         services: VIP or node port → class → endpoint, or rejected
//! filter       filter-forward, refuse-output      other ports and addresses of the cluster
//! srcnat − 10  learn-input, learn-postrouting     affinity: learns the endpoint, while any service has it
//! srcnat       nat-postrouting                    masquerading
//! ```
//!
//! Later packets and replies pass only the filter chains, and leave them after one match.

use std::sync::Arc;

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_core::plan::{NodePortAddresses, NodeSettings};
use portolan_nft::{Bytes, Chain, Element, Family, Rule, Selector, Set, TableId};

mod chains;
pub mod condition;
mod feature;
mod service_set;

pub use feature::Feature;
pub(crate) use feature::FeaturesInUse;
pub use service_set::{ENDPOINTS, LOCAL_ENDPOINTS, NODEPORT_ENDPOINTS, NODEPORT_LOCAL_ENDPOINTS, ServiceSet};

/// The name of our table in either family.
pub const TABLE: &str = "portolan";
/// Ranges that node ports are confined to.
const NODEPORT_IPS: &str = "nodeport-ips";
/// Ranges that cluster IPs come from.
const SERVICE_CIDRS: &str = "service-cidrs";
/// Chain that rejects.
pub const REFUSE: &str = "refuse";
/// Chain that drops.
pub const IGNORE: &str = "ignore";

/// The sets of one family, and the source of its chains.
#[derive(Debug)]
pub struct Layout {
    /// The IP family.
    pub family: IpFamily,
    sets: [Arc<Set>; ServiceSet::ALL.len()],
    nodeport_ips: Arc<Set>,
    service_cidrs: Arc<Set>,
}

impl Layout {
    /// The layout of one family.
    pub fn new(family: IpFamily) -> Self {
        let ranges = |name| Arc::new(Set::intervals(name, [Selector::Daddr]));
        Self {
            family,
            sets: ServiceSet::ALL.map(|set| Arc::new(set.set())),
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

    /// The nft set of a service set.
    pub fn set(&self, set: ServiceSet) -> &Arc<Set> {
        &self.sets[set as usize]
    }

    /// All sets.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<Set>> {
        self.sets.iter().chain([&self.nodeport_ips, &self.service_cidrs])
    }

    /// The sets that follow the node's settings, with their elements, sorted.
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

    /// All chains that always exist, each with its rules. A chain comes after those it jumps to.
    pub fn chains(&self, settings: &NodeSettings) -> Vec<(Chain, Vec<Rule>)> {
        chains::all(self.family, settings)
    }

    /// These, and those that exist only while something uses them.
    pub fn known_chains(&self, settings: &NodeSettings) -> Vec<(Chain, Vec<Rule>)> {
        let mut chains = self.chains(settings);
        chains.extend(Feature::ALL.into_iter().flat_map(Feature::chains));
        chains
    }
}

/// nft's name for an IP family.
pub fn nft_family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    }
}

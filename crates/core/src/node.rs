//! What is fixed for this node while the process runs.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{IpFamily, PerFamily};
use crate::event::Node;
use crate::name::Name;
use crate::plan::{LocalDetector, Masquerade, NodePortAddresses, NodeSettings};

/// The configuration that plans depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// This node's name, lower case; an endpoint is local when its `nodeName` equals it.
    pub node_name: Name,
    /// `clusterCIDR`: where pod addresses come from. Only the first of each family counts.
    pub cluster_cidrs: Vec<IpNet>,
    /// `masqueradeAll`: give all traffic to cluster IPs this node's source address.
    pub masquerade_all: bool,
    /// The packet mark that asks postrouting to masquerade; one bit, `1 << masqueradeBit`.
    pub masquerade_mark: u32,
    /// `nodePortAddresses`.
    pub node_port_addresses: NodePortSelection,
}

/// Default of `masqueradeBit`, as a mark.
pub const DEFAULT_MASQUERADE_MARK: u32 = 1 << 14;

/// `nodePortAddresses` as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortSelection {
    /// `primary`: the addresses of the Node object.
    Primary,
    /// Local addresses inside these ranges; with none for a family, all of its addresses.
    Cidrs(Vec<IpNet>),
}

impl NodeConfig {
    /// kube-proxy's nftables defaults for a node of this name.
    pub fn new(node_name: impl Into<Name>) -> Self {
        Self {
            node_name: node_name.into(),
            cluster_cidrs: Vec::new(),
            masquerade_all: false,
            masquerade_mark: DEFAULT_MASQUERADE_MARK,
            node_port_addresses: NodePortSelection::Primary,
        }
    }

    /// What a plan of `family` says about the node itself, given its Node object if that is known.
    pub fn settings(&self, family: IpFamily, node: Option<&Node>) -> NodeSettings {
        NodeSettings {
            cluster_ip_masquerade: self.cluster_ip_masquerade(family),
            masquerade_mark: self.masquerade_mark,
            node_port_addresses: self.node_port_addresses(family, node),
        }
    }

    fn cluster_ip_masquerade(&self, family: IpFamily) -> Masquerade {
        if self.masquerade_all {
            return Masquerade::Always;
        }
        let cidr = self.cluster_cidrs.iter().find(|net| IpFamily::of_net(net) == family);
        cidr.map_or(Masquerade::Never, |cidr| Masquerade::Unless(LocalDetector::Cidr(cidr.trunc())))
    }

    fn node_port_addresses(&self, family: IpFamily, node: Option<&Node>) -> NodePortAddresses {
        let nets: Vec<IpNet> = match &self.node_port_addresses {
            NodePortSelection::Cidrs(cidrs) => cidrs.clone(),
            NodePortSelection::Primary => {
                let addresses = node_ips(node.map_or(&[], |node| &node.addresses));
                addresses.iter().filter_map(|(_, ip)| *ip).map(IpNet::from).collect()
            }
        };
        let mut nets: Vec<_> = nets.into_iter().filter(|net| IpFamily::of_net(net) == family).collect();
        nets.sort();
        let nets = IpNet::aggregate(&nets);
        if nets.is_empty() || nets.iter().any(|net| net.prefix_len() == 0) {
            return NodePortAddresses::All;
        }
        NodePortAddresses::Within(nets)
    }
}

/// The node's address in each family: the first one the Node object has of it.
/// Loopback addresses are nobody's address.
pub fn node_ips(addresses: &[IpAddr]) -> PerFamily<Option<IpAddr>> {
    PerFamily::from_fn(|family| {
        addresses.iter().copied().find(|ip| IpFamily::of(*ip) == family && !ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(selection: NodePortSelection) -> NodeConfig {
        NodeConfig { node_port_addresses: selection, ..NodeConfig::new("n1") }
    }

    fn cidrs(texts: &[&str]) -> NodePortSelection {
        NodePortSelection::Cidrs(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn node(addresses: &[&str]) -> Node {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Node { name: "n1".into(), addresses, pod_cidrs: vec![], zone: None, leaving: false }
    }

    #[test]
    fn node_port_addresses_follow_the_selection_per_family() {
        let within = |texts: &[&str]| {
            NodePortAddresses::Within(texts.iter().map(|text| text.parse().unwrap()).collect())
        };
        let all = NodePortAddresses::All;
        let primary = NodePortSelection::Primary;
        let dual = ["10.0.0.7", "2001:db8::7", "10.0.0.8"];
        let cases = [
            ("nothing configured", cidrs(&[]), &dual[..], all.clone(), all.clone()),
            (
                "a range of one family leaves the other open",
                cidrs(&["10.0.0.0/8"]),
                &dual,
                within(&["10.0.0.0/8"]),
                all.clone(),
            ),
            (
                "a zero prefix is everything",
                cidrs(&["0.0.0.0/0", "10.0.0.0/8"]),
                &dual,
                all.clone(),
                all.clone(),
            ),
            (
                "overlapping ranges merge",
                cidrs(&["10.1.0.0/16", "10.0.0.0/8"]),
                &dual,
                within(&["10.0.0.0/8"]),
                all.clone(),
            ),
            (
                "primary takes the first of each family",
                primary.clone(),
                &dual,
                within(&["10.0.0.7/32"]),
                within(&["2001:db8::7/128"]),
            ),
            (
                "primary of an IPv6 node leaves IPv4 open",
                primary.clone(),
                &dual[1..2],
                all.clone(),
                within(&["2001:db8::7/128"]),
            ),
            ("primary skips loopback", primary, &["127.0.0.1"], all.clone(), all),
        ];
        for (rule, selection, addresses, v4, v6) in cases {
            let config = config(selection);
            let node = node(addresses);
            assert_eq!(config.settings(IpFamily::V4, Some(&node)).node_port_addresses, v4, "{rule}, IPv4");
            assert_eq!(config.settings(IpFamily::V6, Some(&node)).node_port_addresses, v6, "{rule}, IPv6");
        }
    }

    #[test]
    fn cluster_ip_traffic_is_masqueraded_by_the_first_cidr_of_the_family() {
        let mut config = NodeConfig::new("n1");
        assert_eq!(config.settings(IpFamily::V4, None).cluster_ip_masquerade, Masquerade::Never);
        config.cluster_cidrs = ["10.1.0.0/16", "10.2.0.0/16"].map(|text| text.parse().unwrap()).to_vec();
        let first = Masquerade::Unless(LocalDetector::Cidr("10.1.0.0/16".parse().unwrap()));
        assert_eq!(config.settings(IpFamily::V4, None).cluster_ip_masquerade, first);
        assert_eq!(config.settings(IpFamily::V6, None).cluster_ip_masquerade, Masquerade::Never);
        config.masquerade_all = true;
        assert_eq!(config.settings(IpFamily::V6, None).cluster_ip_masquerade, Masquerade::Always);
    }
}

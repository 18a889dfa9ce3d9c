//! The configuration of this node, and the settings of a plan that follow from it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{IpFamily, PerFamily};
use crate::event::Node;
use crate::name::Name;
use crate::plan::{LocalDetector, NodePortAddresses, NodeSettings};

/// The configuration that plans depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// This node's name, lower case; an endpoint is local when its `nodeName` equals it.
    pub node_name: Name,
    /// How to detect packets of local pods.
    pub detect_local: DetectLocal,
    /// `masqueradeAll`: masquerade all traffic to cluster IPs.
    pub masquerade_all: bool,
    /// The packet mark that makes postrouting masquerade a packet; one bit, `1 << masqueradeBit`.
    pub masquerade_mark: u32,
    /// `nodePortAddresses`.
    pub node_port_addresses: NodePortSelection,
    /// `bindAddress`, if it is a single address: overrides the node's IP of its family in the Node object.
    pub bind_address: Option<IpAddr>,
    /// Feature gate `AllowServiceExternalIPs`: whether `externalIPs` of Services are served.
    pub allow_external_ips: bool,
}

/// `detectLocalMode`, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetectLocal {
    /// `ClusterCIDR`: by a source address in the first of these ranges (`clusterCIDR`) that is of its family. Without
    /// one of its family nothing is detected.
    ClusterCidr(Vec<IpNet>),
    /// `NodeCIDR`: by a source address in the first of the Node's `podCIDRs` that is of its family.
    NodeCidr,
    /// `BridgeInterface`: by the incoming interface of this name.
    BridgeInterface(Name),
    /// `InterfaceNamePrefix`: by an incoming interface whose name has this prefix.
    InterfaceNamePrefix(Name),
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
            detect_local: DetectLocal::ClusterCidr(Vec::new()),
            masquerade_all: false,
            masquerade_mark: DEFAULT_MASQUERADE_MARK,
            node_port_addresses: NodePortSelection::Primary,
            bind_address: None,
            allow_external_ips: true,
        }
    }

    /// The settings of a plan of `family`, given the Node object, if known, and the ranges of cluster IPs.
    pub fn settings<'a>(
        &self,
        family: IpFamily,
        node: Option<&Node>,
        service_cidrs: impl IntoIterator<Item = &'a IpNet>,
    ) -> NodeSettings {
        NodeSettings {
            local_detector: self.local_detector(family, node),
            masquerade_all: self.masquerade_all,
            masquerade_mark: self.masquerade_mark,
            node_port_addresses: self.node_port_addresses(family, node),
            service_cidrs: merged(service_cidrs, family),
            api_server: Vec::new(),
        }
    }

    /// The node's IP in each family: the configured one, or else the first one of the Node object. Loopback addresses
    /// are ignored.
    pub fn node_ips(&self, node: Option<&Node>) -> PerFamily<Option<IpAddr>> {
        let listed = node.map_or(&[][..], |node| &node.addresses);
        let all = self.bind_address.iter().chain(listed);
        PerFamily::from_fn(|family| {
            all.clone().copied().find(|ip| IpFamily::of(*ip) == family && !ip.is_loopback())
        })
    }

    fn local_detector(&self, family: IpFamily, node: Option<&Node>) -> Option<LocalDetector> {
        let first = |nets: &[IpNet]| {
            let net = nets.iter().find(|net| IpFamily::of_net(net) == family);
            net.map(|net| LocalDetector::Cidr(net.trunc()))
        };
        match &self.detect_local {
            DetectLocal::ClusterCidr(cidrs) => first(cidrs),
            DetectLocal::NodeCidr => node.and_then(|node| first(&node.pod_cidrs)),
            DetectLocal::BridgeInterface(name) => Some(LocalDetector::Interface(name.clone())),
            DetectLocal::InterfaceNamePrefix(prefix) => Some(LocalDetector::InterfacePrefix(prefix.clone())),
        }
    }

    fn node_port_addresses(&self, family: IpFamily, node: Option<&Node>) -> NodePortAddresses {
        let nets: Vec<IpNet> = match &self.node_port_addresses {
            NodePortSelection::Cidrs(cidrs) => cidrs.clone(),
            NodePortSelection::Primary => {
                let addresses = self.node_ips(node);
                addresses.iter().filter_map(|(_, ip)| *ip).map(IpNet::from).collect()
            }
        };
        let nets = merged(&nets, family);
        if nets.is_empty() || nets.iter().any(|net| net.prefix_len() == 0) {
            return NodePortAddresses::All;
        }
        NodePortAddresses::Within(nets)
    }
}

/// The ranges of one family, sorted and without overlaps.
pub(crate) fn merged<'a>(nets: impl IntoIterator<Item = &'a IpNet>, family: IpFamily) -> Vec<IpNet> {
    let of_family: Vec<IpNet> =
        nets.into_iter().filter(|net| IpFamily::of_net(net) == family).map(IpNet::trunc).collect();
    let mut merged = IpNet::aggregate(&of_family);
    merged.sort_unstable();
    merged
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
            assert_eq!(
                config.settings(IpFamily::V4, Some(&node), []).node_port_addresses,
                v4,
                "{rule}, IPv4"
            );
            assert_eq!(
                config.settings(IpFamily::V6, Some(&node), []).node_port_addresses,
                v6,
                "{rule}, IPv6"
            );
        }
    }

    #[test]
    fn local_detector_follows_detect_local_mode() {
        let cidr = |text: &str| Some(LocalDetector::Cidr(text.parse().unwrap()));
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        let cluster = |texts: &[&str]| DetectLocal::ClusterCidr(nets(texts));
        let v4_v6 = ["10.1.0.0/16", "fd00:1::/48"];
        let node_of = |texts: &[&str]| Node { pod_cidrs: nets(texts), ..node(&[]) };
        let bare = node_of(&[]);
        let bridge = || Some(LocalDetector::Interface("cbr0+".into()));
        let veth = || Some(LocalDetector::InterfacePrefix("veth".into()));
        let cases = [
            ("no cluster CIDR detects nothing", cluster(&[]), &bare, None, None),
            ("one of IPv4", cluster(&v4_v6[..1]), &bare, cidr("10.1.0.0/16"), None),
            ("one of IPv6", cluster(&v4_v6[1..]), &bare, None, cidr("fd00:1::/48")),
            ("one of each", cluster(&v4_v6), &bare, cidr("10.1.0.0/16"), cidr("fd00:1::/48")),
            (
                "the order of families means nothing",
                cluster(&["fd00:1::/48", "10.1.0.0/16"]),
                &bare,
                cidr("10.1.0.0/16"),
                cidr("fd00:1::/48"),
            ),
            (
                "the first of a family counts",
                cluster(&["10.1.2.3/16", "10.2.0.0/16"]),
                &bare,
                cidr("10.1.0.0/16"),
                None,
            ),
            ("a Node without pod CIDRs", DetectLocal::NodeCidr, &bare, None, None),
            (
                "the Node's pod CIDRs",
                DetectLocal::NodeCidr,
                &node_of(&v4_v6),
                cidr("10.1.0.0/16"),
                cidr("fd00:1::/48"),
            ),
            (
                "the Node has one of IPv6",
                DetectLocal::NodeCidr,
                &node_of(&v4_v6[1..]),
                None,
                cidr("fd00:1::/48"),
            ),
            (
                "a bridge's name is taken as it is",
                DetectLocal::BridgeInterface("cbr0+".into()),
                &bare,
                bridge(),
                bridge(),
            ),
            ("a prefix", DetectLocal::InterfaceNamePrefix("veth".into()), &bare, veth(), veth()),
        ];
        for (rule, detect_local, node, v4, v6) in cases {
            let config = NodeConfig { detect_local, ..NodeConfig::new("n1") };
            assert_eq!(config.settings(IpFamily::V4, Some(node), []).local_detector, v4, "{rule}, IPv4");
            assert_eq!(config.settings(IpFamily::V6, Some(node), []).local_detector, v6, "{rule}, IPv6");
        }
        let config = NodeConfig { detect_local: DetectLocal::NodeCidr, ..NodeConfig::new("n1") };
        assert_eq!(config.settings(IpFamily::V4, None, []).local_detector, None, "no Node yet");
    }

    #[test]
    fn service_cidrs_are_merged_per_family() {
        let nets = ["10.97.0.0/16", "fd00:9::/112", "10.96.0.0/16", "10.96.8.0/24"]
            .map(|text| text.parse::<IpNet>().unwrap());
        let config = NodeConfig::new("n1");
        let of = |family| config.settings(family, None, &nets).service_cidrs;
        assert_eq!(of(IpFamily::V4), ["10.96.0.0/15".parse::<IpNet>().unwrap()]);
        assert_eq!(of(IpFamily::V6), ["fd00:9::/112".parse::<IpNet>().unwrap()]);
    }
}

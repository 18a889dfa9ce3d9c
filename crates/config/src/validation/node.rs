//! Settings that describe the node: where its pods are, which of its addresses have node ports.

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_core::address::parse_cidr;
use portolan_core::name::Name;
use portolan_core::node::{DetectLocal, NodePortSelection};

use super::faults::Faults;
use crate::kube_proxy::KubeProxyConfiguration;
use crate::kube_proxy::effective::{CLUSTER_CIDR, PRIMARY};

const NODE_CIDR: &str = "NodeCIDR";
const BRIDGE: &str = "BridgeInterface";
const PREFIX: &str = "InterfaceNamePrefix";

/// `detectLocalMode` with what that mode needs; what the other modes need is not looked at,
/// as in kube-proxy.
pub(super) fn detect_local(config: &KubeProxyConfiguration, faults: &mut Faults) -> DetectLocal {
    match config.detect_local_mode.as_str() {
        "" | CLUSTER_CIDR => DetectLocal::ClusterCidr(cluster_cidrs(&config.cluster_cidr, faults)),
        NODE_CIDR => DetectLocal::NodeCidr,
        BRIDGE => DetectLocal::BridgeInterface(interface(
            "DetectLocalConfiguration.InterfaceName",
            &config.detect_local.bridge_interface,
            faults,
        )),
        PREFIX => DetectLocal::InterfaceNamePrefix(interface(
            "DetectLocalConfiguration.InterfacePrefix",
            &config.detect_local.interface_name_prefix,
            faults,
        )),
        unknown => {
            faults.unsupported("DetectLocalMode", unknown, &[CLUSTER_CIDR, NODE_CIDR, BRIDGE, PREFIX, ""]);
            DetectLocal::NodeCidr
        }
    }
}

/// `IFNAMSIZ` (linux/if.h) without its closing zero.
const LONGEST_INTERFACE_NAME: usize = 15;

/// What the kernel (`dev_valid_name` in net/core/dev.c) keeps out of interface names, and what nft has no
/// way to write: control characters and the quote.
fn is_impossible(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f || b"/:\"".contains(&byte)
}

/// The name of an interface or its beginning, taken as it is. What cannot be one is refused: it would
/// match nothing, or be refused later with all the rules around it.
fn interface(path: &str, name: &str, faults: &mut Faults) -> Name {
    if name.is_empty() {
        faults.text(path, name, "must not be empty");
    } else if name.len() > LONGEST_INTERFACE_NAME {
        faults.text(path, name, "must not be longer than the 15 bytes of an interface name");
    } else if name.bytes().any(is_impossible) {
        faults.text(path, name, "must not have a blank, control character, slash, colon or quote");
    }
    name.into()
}

/// `clusterCIDR`: one CIDR, or one of each family with a comma between; empty for none.
fn cluster_cidrs(text: &str, faults: &mut Faults) -> Vec<IpNet> {
    const PATH: &str = "DetectLocalConfiguration.ClusterCIDRs";
    const PAIR: &str =
        "must be either a single CIDR or a dual-stack pair of CIDRs (e.g. 10.100.0.0/16,fde4:8dba:82e1::/48)";
    if text.is_empty() {
        return Vec::new();
    }
    let texts: Vec<_> = text.split(',').collect();
    if texts.len() > IpFamily::ALL.len() {
        faults.text(PATH, text, PAIR);
        return Vec::new();
    }
    let mut cidrs = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match parse_cidr(text) {
            Ok(cidr) => cidrs.push(cidr),
            Err(_) => faults.text(
                &format!("{PATH}[{index}]"),
                text,
                "must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)",
            ),
        }
    }
    if let [a, b] = &cidrs[..]
        && IpFamily::of_net(a) == IpFamily::of_net(b)
    {
        faults.text(PATH, text, PAIR);
    }
    cidrs
}

/// `nodePortAddresses`: CIDRs, or the one word `primary`; nothing when the list is empty.
pub(super) fn ports(items: &[String], faults: &mut Faults) -> Option<NodePortSelection> {
    if items.is_empty() {
        return None;
    }
    if items == [PRIMARY] {
        return Some(NodePortSelection::Primary);
    }
    let mut cidrs = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("NodePortAddresses[{index}]");
        match parse_cidr(item) {
            Ok(cidr) => cidrs.push(cidr),
            Err(_) if item == PRIMARY => faults.text(&path, item, "can't use both 'primary' and CIDRs"),
            Err(_) => faults.text(&path, item, "must be a valid CIDR"),
        }
    }
    Some(NodePortSelection::Cidrs(cidrs))
}

//! Settings of the node: how to detect its pods, and which of its addresses accept node ports.

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_core::name::Name;
use portolan_core::node::{DetectLocal, NodePortSelection};

use super::errors::FieldErrors;
use crate::kube_proxy::KubeProxyConfiguration;
use crate::kube_proxy::effective::{CLUSTER_CIDR, PRIMARY};

const NODE_CIDR: &str = "NodeCIDR";
const BRIDGE: &str = "BridgeInterface";
const PREFIX: &str = "InterfaceNamePrefix";

/// `detectLocalMode` with the settings of that mode; those of the other modes are not checked, as in kube-proxy.
pub(crate) fn detect_local(config: &KubeProxyConfiguration, errors: &mut FieldErrors) -> DetectLocal {
    match config.detect_local_mode.as_str() {
        "" | CLUSTER_CIDR => DetectLocal::ClusterCidr(cluster_cidrs(&config.cluster_cidr, errors)),
        NODE_CIDR => DetectLocal::NodeCidr,
        BRIDGE => DetectLocal::BridgeInterface(interface(
            "DetectLocalConfiguration.InterfaceName",
            &config.detect_local.bridge_interface,
            errors,
        )),
        PREFIX => DetectLocal::InterfaceNamePrefix(interface(
            "DetectLocalConfiguration.InterfacePrefix",
            &config.detect_local.interface_name_prefix,
            errors,
        )),
        unknown => {
            errors.unsupported("DetectLocalMode", unknown, &[CLUSTER_CIDR, NODE_CIDR, BRIDGE, PREFIX, ""]);
            DetectLocal::NodeCidr
        }
    }
}

/// `IFNAMSIZ` (linux/if.h) without its closing zero.
const LONGEST_INTERFACE_NAME: usize = 15;

/// Bytes that the kernel (`dev_valid_name` in net/core/dev.c) rejects in interface names, and those that nft cannot
/// express: control characters and the quote.
fn is_invalid(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f || b"/:\"".contains(&byte)
}

/// The name of an interface or a prefix of it. An invalid one would match nothing, or the kernel would reject it with
/// all the rules around it.
fn interface(path: &str, name: &str, errors: &mut FieldErrors) -> Name {
    if name.is_empty() {
        errors.text(path, name, "must not be empty");
    } else if name.len() > LONGEST_INTERFACE_NAME {
        errors.text(path, name, "must not be longer than the 15 bytes of an interface name");
    } else if name.bytes().any(is_invalid) {
        errors.text(path, name, "must not have a blank, control character, slash, colon or quote");
    }
    name.into()
}

/// `clusterCIDR`: one CIDR, or one of each family with a comma between; empty for none.
fn cluster_cidrs(text: &str, errors: &mut FieldErrors) -> Vec<IpNet> {
    const PATH: &str = "DetectLocalConfiguration.ClusterCIDRs";
    const PAIR: &str =
        "must be either a single CIDR or a dual-stack pair of CIDRs (e.g. 10.100.0.0/16,fde4:8dba:82e1::/48)";
    if text.is_empty() {
        return Vec::new();
    }
    let texts: Vec<_> = text.split(',').collect();
    if texts.len() > IpFamily::ALL.len() {
        errors.text(PATH, text, PAIR);
        return Vec::new();
    }
    let wanted = "must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)";
    let cidrs = errors.cidrs(PATH, texts, |_| wanted);
    if let [a, b] = &cidrs[..]
        && IpFamily::of_net(a) == IpFamily::of_net(b)
    {
        errors.text(PATH, text, PAIR);
    }
    cidrs
}

/// `nodePortAddresses`: CIDRs, or `primary` alone; `None` if the list is empty.
pub(crate) fn node_ports(items: &[String], errors: &mut FieldErrors) -> Option<NodePortSelection> {
    if items.is_empty() {
        return None;
    }
    if items == [PRIMARY] {
        return Some(NodePortSelection::Primary);
    }
    let wanted = |item: &str| match item {
        PRIMARY => "can't use both 'primary' and CIDRs",
        _ => "must be a valid CIDR",
    };
    Some(NodePortSelection::Cidrs(errors.cidrs(
        "NodePortAddresses",
        items.iter().map(String::as_str),
        wanted,
    )))
}

//! Settings that describe the node: its name, pod addresses, node port addresses.

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_core::address::parse_cidr;
use portolan_core::name::Name;
use portolan_core::node::{DetectLocal, NodePortSelection};

use crate::error::{ConfigError, ValueError, invalid};
use crate::flags::Flags;
use crate::value;

/// The word that stands for the node's own addresses.
const PRIMARY: &str = "primary";

/// The name as the Node object has it.
///
/// # Errors
/// It is blank.
pub(crate) fn name(hostname: &str) -> Result<String, ConfigError> {
    let name = hostname.trim().to_lowercase();
    if name.is_empty() { Err(ConfigError::EmptyHostname) } else { Ok(name) }
}

/// `detectLocalMode` with what that mode needs; what the other modes need is not looked at,
/// as in kube-proxy.
///
/// # Errors
/// There is no such mode, or what it needs is missing or impossible.
pub(crate) fn detect_local(flags: &Flags) -> Result<DetectLocal, ConfigError> {
    let interface = |flag, name: &str, mode| interface_name(name, mode).map_err(invalid(flag, name));
    match flags.detect_local_mode.as_str() {
        "" | "ClusterCIDR" => {
            let cidrs = &flags.cluster_cidr;
            Ok(DetectLocal::ClusterCidr(cluster_cidrs(cidrs).map_err(invalid("--cluster-cidr", cidrs))?))
        }
        "NodeCIDR" => Ok(DetectLocal::NodeCidr),
        "BridgeInterface" => {
            interface("--pod-bridge-interface", &flags.pod_bridge_interface, "BridgeInterface")
                .map(DetectLocal::BridgeInterface)
        }
        "InterfaceNamePrefix" => {
            interface("--pod-interface-name-prefix", &flags.pod_interface_name_prefix, "InterfaceNamePrefix")
                .map(DetectLocal::InterfaceNamePrefix)
        }
        unknown => Err(invalid("--detect-local-mode", unknown)(ValueError::DetectLocalMode)),
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
fn interface_name(name: &str, mode: &'static str) -> Result<Name, ValueError> {
    match name.len() {
        0 => Err(ValueError::NeededBy { mode }),
        1..=LONGEST_INTERFACE_NAME if name.bytes().any(is_impossible) => Err(ValueError::InterfaceCharacter),
        1..=LONGEST_INTERFACE_NAME => Ok(name.into()),
        _ => Err(ValueError::InterfaceName),
    }
}

/// `clusterCIDR`: one CIDR, or one of each family with a comma between; empty for none.
fn cluster_cidrs(text: &str) -> Result<Vec<IpNet>, ValueError> {
    let cidrs = value::list(text).map(parse_cidr).collect::<Result<Vec<_>, _>>()?;
    match cidrs[..] {
        [] | [_] => Ok(cidrs),
        [a, b] if IpFamily::of_net(&a) != IpFamily::of_net(&b) => Ok(cidrs),
        _ => Err(ValueError::CidrPair),
    }
}

/// `nodePortAddresses`: CIDRs, or the one word `primary`; nothing when the list is empty.
pub(crate) fn node_ports(items: &[String]) -> Result<Option<NodePortSelection>, ValueError> {
    match items {
        [] => Ok(None),
        [only] if only == PRIMARY => Ok(Some(NodePortSelection::Primary)),
        _ if items.iter().any(|item| item == PRIMARY) => Err(ValueError::PrimaryAmongCidrs),
        _ => {
            let cidrs = items.iter().map(|item| parse_cidr(item)).collect::<Result<_, _>>()?;
            Ok(Some(NodePortSelection::Cidrs(cidrs)))
        }
    }
}

//! Settings that describe the node: its name, pod addresses, node port addresses.

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_core::address::parse_cidr;
use portolan_core::node::NodePortSelection;

use crate::error::{ConfigError, ValueError};
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

/// `clusterCIDR`: one CIDR, or one of each family with a comma between; empty for none.
pub(crate) fn cluster_cidrs(text: &str) -> Result<Vec<IpNet>, ValueError> {
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

//! Why a listen address is not served, and the log of it.

use std::collections::BTreeMap;
use std::io;

use portolan_core::ServicePortName;
use portolan_core::backend::error_chain;
use tracing::warn;

use crate::address::ListenAddress;
use crate::capture::MAX_RULES;
use crate::limits::Limit;
use crate::port_owner;

/// How many service ports are logged at a time.
const MAX_LOGGED: usize = 200;

/// Why a listen address is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("port is in use by another program")]
    InUse,
    #[error("address is not local to this node (making it local needs CAP_NET_ADMIN)")]
    NotLocal,
    #[error("ports below 1024 need CAP_NET_BIND_SERVICE")]
    NotPermitted,
    #[error(
        "address belongs to another host, and this kernel has no routing rules for ports (Linux 4.17, CONFIG_IP_MULTIPLE_TABLES)"
    )]
    OtherHost,
    #[error(
        "too many ports of external and load-balancer addresses (at most {MAX_RULES}, and not all for one Service)"
    )]
    TooManyPorts,
    #[error("the limit of {0} is reached")]
    Full(Limit),
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ListenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse,
            io::ErrorKind::AddrNotAvailable => Self::NotLocal,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Limit::of(&error).map_or(Self::Io(error), Self::Full),
        }
    }
}

/// A listen address of a service port that is not served.
#[derive(Debug)]
pub(crate) struct Unserved {
    pub(crate) service_port: ServicePortName,
    pub(crate) address: ListenAddress,
    pub(crate) error: ListenError,
}

/// Logs what is not served, in one line for each service port and reason, which names the first address. To find the owner
/// of a port is to look at every process, so all are looked for at once.
pub(crate) fn log(unserved: &[Unserved]) {
    let mut grouped: BTreeMap<(&ServicePortName, String), Vec<ListenAddress>> = BTreeMap::new();
    for one in unserved {
        grouped.entry((&one.service_port, error_chain(&one.error))).or_default().push(one.address);
    }
    let first = |addresses: &[ListenAddress]| addresses.iter().min().copied();
    let in_use = ListenError::InUse.to_string();
    let taken = grouped.iter().take(MAX_LOGGED).filter(|((_, reason), _)| *reason == in_use);
    let owners = port_owner::find(&taken.filter_map(|(_, addresses)| first(addresses)).collect::<Vec<_>>());
    for ((service_port, reason), addresses) in grouped.iter().take(MAX_LOGGED) {
        let Some(address) = first(addresses) else { continue };
        let owner = owners.get(&address).map(|owner| format!("port is in use by {owner}"));
        let err = owner.as_ref().unwrap_or(reason);
        let others = Some(addresses.len() - 1).filter(|others| *others > 0);
        warn!(servicePort = %service_port, %address, others, err, "Failed to listen; retrying");
    }
    let unnamed = grouped.len().saturating_sub(MAX_LOGGED);
    if unnamed > 0 {
        warn!(servicePorts = unnamed, "Failed to listen for more service ports; retrying");
    }
}

//! What this mode alone is configured with.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use portolan_ipvs::Timeouts;

/// The scheduler unless another is asked for: round robin.
const DEFAULT_SCHEDULER: &str = "rr";

/// What holds for the whole run of the proxy: `ipvs.*` of kube-proxy's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `ipvs.scheduler`, as the kernel calls it; empty stands for `rr`.
    pub scheduler: String,
    /// `ipvs.excludeCIDRs`: virtual servers in these ranges are left alone, whosever they are.
    pub exclude_cidrs: Vec<IpNet>,
    /// `ipvs.strictARP`: the node answers for an address only where that address is.
    pub strict_arp: bool,
    /// `ipvs.tcpTimeout`, `ipvs.tcpFinTimeout` and `ipvs.udpTimeout`; zero leaves the kernel's own.
    pub timeouts: Timeouts,
}

impl Options {
    /// The scheduler's name.
    pub(crate) fn scheduler(&self) -> Arc<str> {
        if self.scheduler.is_empty() { DEFAULT_SCHEDULER.into() } else { self.scheduler.as_str().into() }
    }

    /// Whether virtual servers at this address are not ours to remove.
    pub(crate) fn excludes(&self, address: IpAddr) -> bool {
        self.exclude_cidrs.iter().any(|net| net.contains(&address))
    }
}

//! What a scenario takes that not every level or backend can give.

use std::fmt;

/// Something that a level of test, a kernel or a backend may lack.
///
/// A backend that does things its own way, as kube-proxy's ipvs mode does with Local policies, declares
/// the need it does not meet and describes what it does instead in its own tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Need {
    /// SCTP, which a kernel may be built without.
    Sctp,
    /// Pods on a bridge whose packets netfilter sees (`br_netfilter`).
    Bridge,
    /// Time that passes.
    RealTime,
    /// Receivers that see who sent a packet: a relay in user space shows itself to all.
    ClientAddress,
    /// New connections without a local endpoint are dropped if other nodes have endpoints (not so in ipvs mode).
    DropWithoutLocalEndpoints,
    /// Other ports of a cluster IP are refused (nftables mode).
    UndefinedPorts,
    /// Addresses for Services that no Service has are dropped (nftables mode).
    ServiceCidrs,
    /// A client's endpoint is the same through all addresses of a Service (not so in ipvs mode).
    SharedAffinity,
    /// Under a Local external policy pods and the node itself reach all endpoints by external addresses (not so
    /// in ipvs mode, where a virtual server has one list for all clients).
    LocalShortCut,
    /// Other ports of load-balancer and external addresses are left alone (not so in ipvs mode, where these
    /// are the node's own addresses).
    OpenExternalPorts,
    /// What the node sends to an address of a Service comes from its outer address (not so in ipvs mode, where
    /// it comes from the address itself).
    OuterSource,
    /// The node itself is rejected at load-balancer and external addresses without endpoints (not so in
    /// iptables mode, where its packets pass untouched).
    RefusalsToTheNode,
    /// A client outside a Service's source ranges is dropped even if it has no endpoints (not so in iptables
    /// mode, where all clients are rejected).
    RangesWithoutEndpoints,
    /// Node ports are refused or dropped only at addresses where they would answer (not so in iptables mode,
    /// where that is so at all of the node's).
    RefusalsWithinRanges,
    /// Node ports do not answer on loopback addresses (not so in iptables mode, unless it is configured so).
    SilentLoopback,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sctp => "SCTP",
            Self::Bridge => "a bridge",
            Self::RealTime => "real time",
            Self::ClientAddress => "clients' addresses",
            Self::DropWithoutLocalEndpoints => "drops where no endpoint is local",
            Self::UndefinedPorts => "refusals on undefined ports",
            Self::ServiceCidrs => "drops on unallocated addresses",
            Self::SharedAffinity => "affinity shared by all addresses",
            Self::LocalShortCut => "a way to all endpoints under Local policies for pods and the node",
            Self::OpenExternalPorts => "other ports of external addresses left alone",
            Self::OuterSource => "the node's outer address as source",
            Self::RefusalsToTheNode => "refusals to the node at external addresses",
            Self::RangesWithoutEndpoints => "source ranges without endpoints",
            Self::RefusalsWithinRanges => "refusals within nodePortAddresses alone",
            Self::SilentLoopback => "loopback without node ports",
        })
    }
}

/// What of a scenario cannot run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// All of it runs.
    Nothing,
    /// So many packets are not sent; the rest runs.
    Packets(usize),
    /// None of it runs.
    Everything,
}

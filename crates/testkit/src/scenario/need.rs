//! What a scenario takes that not every level or backend can give.

use std::fmt;

/// Something that a level of test, a kernel or a backend may lack.
///
/// A backend that does things its own way, as kube-proxy's ipvs mode does with Local policies, declares
/// the need it does not meet and describes what it does instead in tests of its own.
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
    /// New connections that nobody may serve here, though others serve, vanish (not so in ipvs mode).
    DropWithoutLocalEndpoints,
    /// Other ports of a cluster IP are refused (nftables mode).
    UndefinedPorts,
    /// Addresses for Services that no Service has are dropped (nftables mode).
    ServiceCidrs,
    /// A client's endpoint is the same through all addresses of a Service (not so in ipvs mode).
    SharedAffinity,
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

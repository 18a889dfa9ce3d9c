//! Which entries the kernel is asked for.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use portolan_core::flows::{Destination, Flow};
use portolan_core::{FlowCheck, IpFamily};
use portolan_netlink::MessageWriter;

use crate::wire::{entry, filter, filter_flag, ip, protocol, tuple};

/// Which entries of one family to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Filter {
    /// All, whatever their protocol.
    Nothing,
    /// UDP flows.
    Udp,
    /// UDP flows that were first sent to this port.
    Port(u16),
    /// UDP flows that were first sent to this address and port. There is none for IPv6: the kernel would
    /// show all flows to other addresses instead. It compares IPv6 addresses with `!ipv6_addr_cmp`, true
    /// when they are equal, where it compares those of IPv4 with `!=`.
    Destination(SocketAddrV4),
}

impl Filter {
    /// The lists that bring every flow that `check` may find stale: the narrowest of which there
    /// are no more than `limit`.
    pub(crate) fn covering(check: &FlowCheck, family: IpFamily, limit: usize) -> BTreeSet<Self> {
        let by = |filter: fn(Destination, IpFamily) -> Option<Self>| -> Option<BTreeSet<Self>> {
            let mut filters = BTreeSet::new();
            for wanted in check.destinations() {
                filters.extend(filter(wanted, family));
                // At a start there are tens of thousands of destinations.
                if filters.len() > limit {
                    return None;
                }
            }
            Some(filters)
        };
        by(Self::narrowest)
            .or_else(|| by(|wanted, _| Some(Self::Port(wanted.port))))
            .unwrap_or_else(|| BTreeSet::from([Self::Udp]))
    }

    /// The filter for one destination; none when it is of another family, so that no flow can have it.
    fn narrowest(wanted: Destination, family: IpFamily) -> Option<Self> {
        match wanted.ip {
            Some(ip) if IpFamily::of(ip) != family => None,
            Some(IpAddr::V4(ip)) => Some(Self::Destination(SocketAddrV4::new(ip, wanted.port))),
            Some(IpAddr::V6(_)) | None => Some(Self::Port(wanted.port)),
        }
    }

    /// Whether the kernel should list a UDP flow.
    pub(crate) fn admits(self, flow: &Flow) -> bool {
        match self {
            Self::Nothing | Self::Udp => true,
            Self::Port(port) => flow.destination.port() == port,
            Self::Destination(destination) => flow.destination == SocketAddr::V4(destination),
        }
    }

    /// Writes the attributes of a request for a list: a tuple, and which parts of it are compared.
    pub(crate) fn write(self, request: &mut MessageWriter<'_>) {
        let (destination, port) = match self {
            Self::Nothing => return,
            Self::Udp => (None, None),
            Self::Port(port) => (None, Some(port)),
            Self::Destination(destination) => (Some(*destination.ip()), Some(destination.port())),
        };
        let mut flags = filter_flag::PROTOCOL;
        request.nest(entry::ORIGINAL, |original| {
            if let Some(address) = destination {
                flags |= filter_flag::DESTINATION_IP;
                original.nest(tuple::IP, |ip| {
                    ip.attribute(ip::V4_DESTINATION, &address.octets());
                });
            }
            original.nest(tuple::PROTOCOL, |udp| {
                udp.attribute(protocol::NUMBER, &[protocol::UDP]);
                if let Some(port) = port {
                    flags |= filter_flag::DESTINATION_PORT;
                    udp.attribute(protocol::DESTINATION_PORT, &port.to_be_bytes());
                }
            });
        });
        request.nest(entry::FILTER, |compared| {
            compared.attribute(filter::ORIGINAL_FLAGS, &flags.to_ne_bytes());
        });
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "all tracked flows"),
            Self::Udp => write!(f, "all tracked UDP flows"),
            Self::Port(port) => write!(f, "tracked UDP flows to port {port}"),
            Self::Destination(destination) => write!(f, "tracked UDP flows to {destination}"),
        }
    }
}

/// The most narrow lists that cost no more than one of all UDP flows, in a table with `entries`; at
/// least one.
///
/// For every list the kernel walks all entries and all buckets of its table, and sends those that the
/// filter admits, which are read here. With `n` entries, all of them UDP, `k` narrow lists cost less than a
/// wide one as long as `(k − 1) × (BUCKETS + n × STEP) < n × READ`.
///
/// That assumes that few flows are to the frontends in question. When most are, as at a start, the narrow
/// lists bring as much as the wide one, and the additional walks at most double the cost.
///
/// The figures are from `examples/stale_flows.rs` on Linux 6.18, with 1,000 to 250,000 flows. They differ from
/// machine to machine, the limit that follows much less, because it is a ratio of them.
pub(crate) fn narrow_lists(entries: u32) -> usize {
    /// To walk the buckets of an empty table, in nanoseconds: 262,144 of them, the size that Linux
    /// chooses for itself with more than 4 GiB of memory (`nf_conntrack_init_start`).
    const BUCKETS: u64 = 8_800_000;
    /// To step over one entry, in nanoseconds.
    const STEP: u64 = 150;
    /// To send one entry, read it and check it, in nanoseconds.
    const READ: u64 = 1_600;
    let entries = u64::from(entries);
    usize::try_from(1 + entries * READ / (BUCKETS + entries * STEP)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;

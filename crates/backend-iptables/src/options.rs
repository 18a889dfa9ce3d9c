//! What rules depend on besides the plan: the settings of this mode and the capabilities of the host.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use portolan_core::IpFamily;
use portolan_core::plan::NodePortAddresses;

/// Constant while the proxy runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `iptables.localhostNodePorts`: IPv4 node ports also answer on loopback addresses. That needs
    /// `net.ipv4.conf.all.route_localnet`.
    pub localhost_node_ports: bool,
    /// Drop packets in state INVALID; not with `nf_conntrack_tcp_be_liberal`, which accepts packets outside the TCP
    /// window.
    pub drop_invalid: bool,
    /// Masqueraded connections get random ports (`--random-fully`, iptables 1.6.2 and later).
    pub random_fully: bool,
    /// The nfacct counters that exist.
    pub counters: Counters,
}

impl Default for Options {
    /// kube-proxy's defaults on a current host without nfacct.
    fn default() -> Self {
        Self {
            localhost_node_ports: true,
            drop_invalid: true,
            random_fully: true,
            counters: Counters::default(),
        }
    }
}

/// The nfacct objects that rules may name. The kernel rejects a rule that names a missing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// [`INVALID_DROPPED`].
    pub invalid_dropped: bool,
    /// [`LOCALHOST_ACCEPTED`].
    pub localhost_accepted: bool,
}

/// Counts what [`Options::drop_invalid`] drops.
pub const INVALID_DROPPED: &str = "ct_state_invalid_dropped_pkts";
/// Counts connections to node ports at loopback addresses.
pub const LOCALHOST_ACCEPTED: &str = "localhost_nps_accepted_pkts";

/// The loopback addresses of a family.
pub fn loopback(family: IpFamily) -> IpNet {
    match family {
        IpFamily::V4 => Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
        IpFamily::V6 => Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
    }
}

impl Options {
    /// Whether node ports of `family` answer on loopback addresses.
    pub fn serves_loopback(&self, family: IpFamily, addresses: &NodePortAddresses) -> bool {
        let is_selected = || match addresses {
            NodePortAddresses::All => true,
            NodePortAddresses::Within(nets) => nets.iter().any(|net| overlap(net, &loopback(family))),
        };
        family == IpFamily::V4 && self.localhost_node_ports && is_selected()
    }
}

/// Whether two ranges have an address in common: one is then inside the other.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ports_answer_on_loopback_for_ipv4_if_selected() {
        let within =
            |nets: &[&str]| NodePortAddresses::Within(nets.iter().map(|net| net.parse().unwrap()).collect());
        let cases = [
            (NodePortAddresses::All, true),
            (within(&["127.0.0.1/32"]), true),
            (within(&["127.0.0.0/8"]), true),
            (within(&["192.0.2.0/24", "0.0.0.0/1"]), true),
            (within(&["192.0.2.0/24"]), false),
        ];
        let off = Options { localhost_node_ports: false, ..Options::default() };
        for (addresses, expected) in cases {
            assert_eq!(
                Options::default().serves_loopback(IpFamily::V4, &addresses),
                expected,
                "{addresses:?}"
            );
            assert!(!off.serves_loopback(IpFamily::V4, &addresses), "{addresses:?}");
        }
        assert!(!Options::default().serves_loopback(IpFamily::V6, &NodePortAddresses::All));
    }
}

//! The node around a packet: its addresses and interfaces.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use portolan_nft::FIB_TYPE_LOCAL;

/// `RTN_UNICAST`, linux/rtnetlink.h: `fib … type unicast`.
const UNICAST: u32 = 1;
/// `RTN_BROADCAST`, linux/rtnetlink.h: `fib … type broadcast`.
const BROADCAST: u32 = 3;
/// `RTN_MULTICAST`, linux/rtnetlink.h: `fib … type multicast`.
const MULTICAST: u32 = 5;

/// What a packet's way depends on besides tables: this node's addresses, and what lies behind which
/// of its interfaces.
///
/// Every other address has a route to it, and packets are forwarded. Loopback addresses are local
/// without being listed. Broadcast addresses of single networks are not known.
#[derive(Debug, Clone)]
pub struct Host {
    addresses: Vec<IpAddr>,
    outside: Arc<str>,
    behind: Vec<(IpNet, Arc<str>)>,
}

impl Host {
    /// A node without addresses, and all the world behind its interface `outside`.
    pub fn new(outside: &str) -> Self {
        Self { addresses: Vec::new(), outside: outside.into(), behind: Vec::new() }
    }

    /// The same node with one more address.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// The same node with a network behind an interface. The narrowest network counts, whatever the
    /// order they are given in.
    #[must_use]
    pub fn with_network(mut self, network: IpNet, interface: &str) -> Self {
        self.behind.push((network, interface.into()));
        self
    }

    /// Whether `address` is one of this node's.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }

    /// By which interface packets from `source` arrive.
    pub fn interface_towards(&self, source: IpAddr) -> &Arc<str> {
        let around = self.behind.iter().filter(|(network, _)| network.contains(&source));
        around.max_by_key(|(network, _)| network.prefix_len()).map_or(&self.outside, |(_, name)| name)
    }

    /// What `fib … type` says of an address (`RTN_*`, linux/rtnetlink.h).
    pub(super) fn address_type(&self, address: IpAddr) -> u32 {
        match address {
            _ if self.is_local(address) => FIB_TYPE_LOCAL,
            _ if address.is_multicast() => MULTICAST,
            IpAddr::V4(v4) if v4.is_broadcast() || v4.is_unspecified() => BROADCAST,
            _ => UNICAST,
        }
    }

    /// The address that masqueraded packets get, if there is only one that they can get.
    pub(super) fn masquerade_address(&self, like: IpAddr) -> Option<IpAddr> {
        let mut fitting = self
            .addresses
            .iter()
            .filter(|address| address.is_ipv4() == like.is_ipv4() && !address.is_loopback());
        let first = fitting.next()?;
        fitting.next().is_none().then_some(*first)
    }
}

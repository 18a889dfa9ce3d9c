//! Who has which address; documentation ranges (RFC 5737, RFC 3849) outside the cluster.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The client's IPv4 address, in `192.0.2.0/24`.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The client's IPv6 address, in `2001:db8:2::/64`.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

/// The node's IPv4 address on the client's side: the one a Node object would carry.
pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The node's IPv6 address on the client's side.
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);

/// The IPv4 address behind the node's default route, in `198.51.100.0/24`.
pub const WORLD_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The IPv6 address behind the node's default route, in `2001:db8:100::/64`.
pub const WORLD_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 2);

/// The node's IPv4 address on its default route: its default source.
pub const NODE_WORLD_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The node's IPv6 address on its default route.
pub const NODE_WORLD_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 1);

/// The cluster's IPv4 pod network, in the notation of `--cluster-cidr`.
pub const POD_CIDR_V4: &str = "10.244.0.0/16";
/// The cluster's IPv6 pod network.
pub const POD_CIDR_V6: &str = "fd00:10:244::/64";

/// The node's address among its pods, and their gateway.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// As [`GATEWAY_V4`].
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 1);

/// Addresses that only the proxy gives a meaning: cluster IPs, then external and load balancer addresses.
pub(super) const SERVICES_V4: [&str; 2] = ["10.96.0.0/16", "203.0.113.0/24"];
/// As [`SERVICES_V4`].
pub(super) const SERVICES_V6: [&str; 2] = ["fd00:10:96::/112", "2001:db8:113::/64"];

/// Pod `number`'s IPv4 address: `10.244.0.11` for pod 1.
pub const fn pod_v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, 10 + number)
}

/// Pod `number`'s IPv6 address: `fd00:10:244::11` for pod 1, `::1a` for pod 10.
pub const fn pod_v6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0x10 + number as u16)
}

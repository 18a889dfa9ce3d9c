//! Addresses as the three parts of the kernel write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portolan_core::IpFamily;
use portolan_netlink::route::Family;

/// `AF_INET` or `AF_INET6`, linux/socket.h; netfilter's numbers are the same.
pub(crate) const fn number(family: IpFamily) -> u8 {
    routed(family).number()
}

/// The family as rtnetlink calls it.
pub(crate) const fn routed(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::V4,
        IpFamily::V6 => Family::V6,
    }
}

/// An address from its bytes, of which there may be more than the family has (`union nf_inet_addr`).
pub(crate) fn read(bytes: &[u8], family: IpFamily) -> Option<IpAddr> {
    match family {
        IpFamily::V4 => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        IpFamily::V6 => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
    }
}

/// `union nf_inet_addr`, linux/netfilter.h: as long for either family.
pub(crate) fn union(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut field = [0; 16];
            field[..4].copy_from_slice(&address.octets());
            field
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// Hands the bytes of an address, as many as its family has, to `take`.
pub(crate) fn with_bytes<T>(address: IpAddr, take: impl FnOnce(&[u8]) -> T) -> T {
    match address {
        IpAddr::V4(address) => take(&address.octets()),
        IpAddr::V6(address) => take(&address.octets()),
    }
}

/// The length of an address, in bits: as a prefix, the address alone.
pub(crate) fn bits(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => 32,
        IpFamily::V6 => 128,
    }
}

//! The local addresses that health check ports listen on.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use portolan_core::IpFamily;
use portolan_core::plan::NodePortAddresses;

/// The addresses of `family` to listen on, with port 0: the unspecified address, or the addresses of this host's
/// interfaces in the CIDRs, which may be none.
///
/// # Errors
/// The kernel does not return the addresses of the interfaces.
pub(crate) fn listening_addresses(
    family: IpFamily,
    addresses: &NodePortAddresses,
) -> io::Result<Vec<SocketAddr>> {
    match addresses {
        NodePortAddresses::All => Ok(vec![match family {
            IpFamily::V4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
            IpFamily::V6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
        }]),
        NodePortAddresses::Within(ranges) => {
            let addresses = getifaddrs()?.filter_map(|interface| socket_address(&interface.address?));
            Ok(within(ranges, addresses))
        }
    }
}

/// Sorted, without duplicates.
fn within(ranges: &[IpNet], addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut inside: Vec<_> =
        addresses.filter(|address| ranges.iter().any(|range| range.contains(&address.ip()))).collect();
    inside.sort_unstable();
    inside.dedup();
    inside
}

/// Includes the scope of a link-local address.
fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::new(v4.ip().into(), 0));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(family: IpFamily, ranges: &[&str]) -> Vec<String> {
        let ranges = ranges.iter().map(|text| text.parse().unwrap()).collect();
        let found = listening_addresses(family, &NodePortAddresses::Within(ranges)).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_give_the_addresses_of_interfaces_inside_them_once() {
        assert_eq!(found(IpFamily::V4, &["127.0.0.0/8"]), ["127.0.0.1:0"]);
        assert_eq!(found(IpFamily::V4, &["127.0.0.0/30", "127.0.0.1/32"]), ["127.0.0.1:0"]);
        assert_eq!(found(IpFamily::V6, &["::1/128"]), ["[::1]:0"]);
        assert!(found(IpFamily::V4, &["240.0.0.0/4"]).is_empty());
    }

    #[test]
    fn an_address_of_two_interfaces_is_taken_once() {
        let ranges = ["192.0.2.0/24".parse().unwrap()];
        let addresses = ["192.0.2.2:0", "203.0.113.1:0", "192.0.2.1:0", "192.0.2.2:0"];
        let inside = within(&ranges, addresses.iter().map(|text| text.parse().unwrap()));
        assert_eq!(inside, ["192.0.2.1:0".parse().unwrap(), "192.0.2.2:0".parse().unwrap()]);
    }

    #[test]
    fn no_restriction_is_the_unspecified_address_of_the_family() {
        let all = |family| listening_addresses(family, &NodePortAddresses::All).unwrap();
        assert_eq!(all(IpFamily::V4), ["0.0.0.0:0".parse().unwrap()]);
        assert_eq!(all(IpFamily::V6), ["[::]:0".parse().unwrap()]);
    }
}

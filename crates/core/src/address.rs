//! Address families, layer-4 protocols, and the lenient address syntax of Kubernetes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Index, IndexMut};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// An IP family. Each has its own plan and its own syncs, as in kube-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The family of `net`.
    pub fn of_net(net: &IpNet) -> Self {
        Self::of(net.addr())
    }
}

/// `IPv4` or `IPv6`, as EndpointSlices and kube-proxy's `ip_family` label spell it.
impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// One value for each family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerFamily<T> {
    /// The value for IPv4.
    pub v4: T,
    /// The value for IPv6.
    pub v6: T,
}

impl<T> PerFamily<T> {
    /// Makes the value of each family with `make`.
    pub fn from_fn(mut make: impl FnMut(IpFamily) -> T) -> Self {
        Self { v4: make(IpFamily::V4), v6: make(IpFamily::V6) }
    }

    /// Both values with their family, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = (IpFamily, &T)> {
        [(IpFamily::V4, &self.v4), (IpFamily::V6, &self.v6)].into_iter()
    }
}

impl<T> Index<IpFamily> for PerFamily<T> {
    type Output = T;

    fn index(&self, family: IpFamily) -> &T {
        match family {
            IpFamily::V4 => &self.v4,
            IpFamily::V6 => &self.v6,
        }
    }
}

impl<T> IndexMut<IpFamily> for PerFamily<T> {
    fn index_mut(&mut self, family: IpFamily) -> &mut T {
        match family {
            IpFamily::V4 => &mut self.v4,
            IpFamily::V6 => &mut self.v6,
        }
    }
}

/// A layer-4 protocol that a Service port can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Transmission Control Protocol.
    Tcp,
    /// User Datagram Protocol.
    Udp,
    /// Stream Control Transmission Protocol.
    Sctp,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The number in the IP header (IANA protocol numbers, `linux/in.h`).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// Lower case, as nft and kube-proxy print it.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// The text is not an address in the syntax that Kubernetes accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an IP {what}")]
pub struct AddressError {
    text: String,
    what: &'static str,
}

/// Parses an address as the Kubernetes API does: leading zeros of an IPv4 octet or an IPv6 group are ignored
/// (`172.30.0.041` is `172.30.0.41`), and an IPv4-mapped IPv6 address (`::ffff:10.0.0.1`, RFC 4291 section 2.5.5.2) is
/// the IPv4 address.
///
/// # Errors
/// The text is not an address.
pub fn parse_ip(text: &str) -> Result<IpAddr, AddressError> {
    parse_any(text)
        .map(|ip| ip.to_canonical())
        .ok_or_else(|| AddressError { text: text.to_owned(), what: "address" })
}

/// Parses a CIDR in the same way, prefix length included, and masks it (`203.0.113.007/025` is `203.0.113.0/25`, and so
/// is `::ffff:203.0.113.7/121`).
///
/// # Errors
/// The text is not a CIDR.
pub fn parse_cidr(text: &str) -> Result<IpNet, AddressError> {
    let parse = || {
        let (address, length) = text.split_once('/')?;
        let length =
            if length.bytes().all(|b| b.is_ascii_digit()) { length.parse().ok()? } else { return None };
        Some(canonical(IpNet::new(parse_any(address)?, length).ok()?.trunc()))
    };
    parse().ok_or_else(|| AddressError { text: text.to_owned(), what: "CIDR" })
}

/// Length of the prefix of IPv4-mapped IPv6 addresses.
const MAPPED_PREFIX: u8 = 96;

/// Converts a range of IPv4-mapped IPv6 addresses to the range of IPv4 addresses.
fn canonical(net: IpNet) -> IpNet {
    let (IpAddr::V4(address), Some(length)) =
        (net.addr().to_canonical(), net.prefix_len().checked_sub(MAPPED_PREFIX))
    else {
        return net;
    };
    Ipv4Net::new(address, length).map_or(net, IpNet::V4)
}

fn parse_any(text: &str) -> Option<IpAddr> {
    let strict = IpAddr::from_str(text).ok();
    strict
        .or_else(|| parse_padded_ipv4(text).map(IpAddr::V4))
        .or_else(|| parse_padded_ipv6(text).map(IpAddr::V6))
}

fn parse_padded_ipv6(text: &str) -> Option<Ipv6Addr> {
    let unpad = |group: &str| match group.trim_start_matches('0') {
        "" if group.is_empty() => Some(String::new()),
        "" => Some("0".to_owned()),
        _ if group.contains('.') => parse_padded_ipv4(group).map(|ip| ip.to_string()),
        digits => Some(digits.to_owned()),
    };
    let groups: Option<Vec<String>> = text.split(':').map(unpad).collect();
    groups?.join(":").parse().ok()
}

fn parse_padded_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = part.trim_start_matches('0');
        *octet = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_of_an_octet_are_decimal() {
        let cases = [
            ("172.30.0.041", Some("172.30.0.41")),
            ("010.0.0.1", Some("10.0.0.1")),
            ("0000.0.0.0", Some("0.0.0.0")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("fd00::0:1", Some("fd00::1")),
            ("fd00::00001", Some("fd00::1")),
            ("0fd00::000:0a", Some("fd00::a")),
            ("fd00::10001", None),
            ("fd00::1%eth0", None),
            ("fd00:::1", None),
            ("10.0.0.256", None),
            ("10.0.0", None),
            ("10.0.0.1.2", None),
            ("10.0.0.+1", None),
            ("10..0.1", None),
            ("", None),
            ("web", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_ip(text).ok().map(|ip| ip.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ipv4_mapped_address_is_the_ipv4_address() {
        let cases = [
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("::ffff:a00:1", Some("10.0.0.1")),
            ("::FFFF:010.0.0.041", Some("10.0.0.41")),
            ("::10.0.0.1", Some("::a00:1")),
            ("64:ff9b::10.0.0.1", Some("64:ff9b::a00:1")),
            ("::ffff:10.0.0.256", None),
        ];
        for (text, expected) in cases {
            let found = parse_ip(text).ok();
            assert_eq!(found.map(|ip| ip.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn cidrs_allow_leading_zeros_and_are_masked() {
        let cases = [
            ("203.0.113.000/025", Some("203.0.113.0/25")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("fd00::5/64", Some("fd00::/64")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("::/0", Some("::/0")),
            ("::ffff:203.0.113.7/121", Some("203.0.113.0/25")),
            ("::ffff:0:0/96", Some("0.0.0.0/0")),
            ("::ffff:0:0/95", Some("::fffe:0:0/95")),
            ("::ffff:10.0.0.1/32", Some("::/32")),
            ("10.0.0.0/33", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_cidr(text).ok().map(|net| net.to_string()).as_deref(), expected, "{text}");
        }
    }
}

//! What is in sets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portolan_core::Protocol;

/// One element of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// Of [`SetKind::Ip`](super::SetKind::Ip).
    Ip(IpAddr),
    /// Of [`SetKind::IpPort`](super::SetKind::IpPort).
    Socket(Protocol, SocketAddr),
    /// Of [`SetKind::IpPortIp`](super::SetKind::IpPortIp): from this address.
    From(Protocol, SocketAddr, IpAddr),
    /// Of [`SetKind::IpPortNet`](super::SetKind::IpPortNet): from this range, which is never all addresses.
    FromNet(Protocol, SocketAddr, IpNet),
    /// Of [`SetKind::Port`](super::SetKind::Port).
    Port(u16),
}

/// As `ipset` prints it: `10.96.0.10,tcp:80`.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = |f: &mut fmt::Formatter<'_>, protocol: &Protocol, at: &SocketAddr| {
            write!(f, "{},{protocol}:{}", at.ip(), at.port())
        };
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Socket(protocol, at) => socket(f, protocol, at),
            Self::From(protocol, at, source) => {
                socket(f, protocol, at)?;
                write!(f, ",{source}")
            }
            Self::FromNet(protocol, at, source) => {
                socket(f, protocol, at)?;
                write!(f, ",{source}")
            }
            Self::Port(port) => write!(f, "{port}"),
        }
    }
}

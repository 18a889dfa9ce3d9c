//! Elements of sets, and changes of them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portolan_core::{IpFamily, Protocol};
use portolan_netlink::MessageWriter;

use super::{Set, wire};
use crate::sent::Request;

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

/// One change of what is in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetChange {
    /// Puts an element in.
    Add(Set, IpFamily, Member),
    /// Takes one out.
    Remove(Set, IpFamily, Member),
}

impl SetChange {
    fn parts(&self) -> (Set, IpFamily, &Member) {
        match self {
            Self::Add(set, family, member) | Self::Remove(set, family, member) => (*set, *family, member),
        }
    }
}

impl Request for SetChange {
    fn kind(&self, _: u16) -> u16 {
        match self {
            Self::Add(..) => wire::ADD,
            Self::Remove(..) => wire::DELETE,
        }
    }

    fn write(&self, message: &mut MessageWriter<'_>) {
        let (set, family, member) = self.parts();
        wire::write_name(message, family, &set.name(family));
        wire::write_member(message, member);
    }

    /// An element that is there or gone already is no error: without `NLM_F_EXCL` ipset says nothing of it.
    fn is_done_by(&self, _: i32) -> bool {
        false
    }

    fn describe(&self) -> String {
        let (set, family, member) = self.parts();
        let verb = match self {
            Self::Add(..) => "add to",
            Self::Remove(..) => "remove from",
        };
        format!("{verb} address set {} the element {member}", set.name(family))
    }
}

//! The TTL of relayed packets.
//!
//! A router decrements the TTL of a packet, so that no packet circulates without end. A relay sends its own packets: two
//! nodes with each other's node port as an endpoint would connect to each other without end. So what it sends has a TTL
//! that is one less than that of what it received, and what came with a TTL of one is not relayed.

use std::io;

use nix::sys::socket::sockopt::Ipv4RecvTtl;
use nix::sys::socket::{ControlMessageOwned, setsockopt};
use portolan_core::IpFamily;
use socket2::SockRef;

/// Where the kernel does not report it: `IPDEFTTL`, linux/ip.h.
const DEFAULT: u32 = 64;

/// A TTL, or a hop limit of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ttl(u32);

impl Ttl {
    /// The TTL that an accepted connection came with. The kernel keeps it as the TTL for multicast, which connections do
    /// not use (`tcp_v4_syn_recv_sock` in net/ipv4/tcp_ipv4.c, and the same for IPv6).
    pub(crate) fn of_connection(socket: &SockRef<'_>, family: IpFamily) -> Self {
        let ttl = match family {
            IpFamily::V4 => socket.multicast_ttl_v4(),
            IpFamily::V6 => socket.multicast_hops_v6(),
        };
        Self(ttl.unwrap_or(DEFAULT))
    }

    /// The TTL that a datagram came with, by its control messages.
    pub(crate) fn of_datagram(messages: impl Iterator<Item = ControlMessageOwned>) -> Self {
        let ttl = messages.into_iter().find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                u32::try_from(ttl).ok()
            }
            _ => None,
        });
        Self(ttl.unwrap_or(DEFAULT))
    }

    /// The TTL beyond this node.
    ///
    /// # Errors
    /// It is used up.
    pub(crate) fn decremented(self) -> io::Result<Self> {
        let left = self.0.checked_sub(1).filter(|left| *left > 0);
        left.map(Self).ok_or_else(|| io::Error::other("the TTL is used up"))
    }

    /// Sets it for all that a socket sends.
    pub(crate) fn set(self, socket: &SockRef<'_>, family: IpFamily) -> io::Result<()> {
        match family {
            IpFamily::V4 => socket.set_ttl_v4(self.0),
            IpFamily::V6 => socket.set_unicast_hops_v6(self.0),
        }
    }
}

/// Has the kernel tell the TTL with each datagram of a socket.
pub(crate) fn receive_ttl(socket: &SockRef<'_>, family: IpFamily) -> io::Result<()> {
    match family {
        IpFamily::V4 => Ok(setsockopt(&**socket, Ipv4RecvTtl, &true)?),
        IpFamily::V6 => socket.set_recv_hoplimit_v6(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hop_is_not_relayed() {
        let left = |ttl| Ttl(ttl).decremented().ok();
        assert_eq!((left(64), left(2)), (Some(Ttl(63)), Some(Ttl(1))));
        assert_eq!((left(1), left(0)), (None, None));
    }

    #[test]
    fn an_accepted_connection_tells_the_ttl_it_came_with() {
        for (address, family) in [("127.0.0.1:0", IpFamily::V4), ("[::1]:0", IpFamily::V6)] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let to = listener.local_addr().unwrap();
            let domain = socket2::Domain::for_address(to);
            let client = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
            Ttl(17).set(&SockRef::from(&client), family).unwrap();
            client.connect(&to.into()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(Ttl::of_connection(&SockRef::from(&accepted), family), Ttl(17));
        }
    }
}

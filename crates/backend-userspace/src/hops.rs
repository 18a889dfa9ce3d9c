//! How many more times something may be forwarded.
//!
//! A router takes one from a packet's time to live, so that nothing goes in circles for ever. A relay makes packets
//! of its own, and would let two nodes that have each other's node port for an endpoint connect to each other
//! without end. So what it sends has one hop less than what it received, and what had its last is not relayed.

use std::io;

use nix::sys::socket::sockopt::SetBool;
use nix::sys::socket::{ControlMessageOwned, setsockopt};
use portolan_core::IpFamily;
use socket2::SockRef;

/// What packets have that nothing else is known of: `IPDEFTTL`, linux/ip.h.
const USUAL: u32 = 64;

/// Have the time to live told with each datagram: `IP_RECVTTL`, ip(7).
#[derive(Debug, Clone, Copy)]
struct ToldV4;

nix::setsockopt_impl!(ToldV4, libc::IPPROTO_IP, libc::IP_RECVTTL, bool, SetBool);

/// Hops that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hops(u32);

impl Hops {
    /// What an accepted connection had left when it came. The kernel keeps that as the hops of multicast, which
    /// connections have no other use for (`tcp_v4_syn_recv_sock` in net/ipv4/tcp_ipv4.c, and its like of IPv6).
    pub(crate) fn of_connection(socket: &SockRef<'_>, family: IpFamily) -> Self {
        let told = match family {
            IpFamily::V4 => socket.multicast_ttl_v4(),
            IpFamily::V6 => socket.multicast_hops_v6(),
        };
        Self(told.unwrap_or(USUAL))
    }

    /// What a datagram had left, as the kernel told with it.
    pub(crate) fn of_datagram(told: impl Iterator<Item = ControlMessageOwned>) -> Self {
        let hops = told.into_iter().find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                u32::try_from(hops).ok()
            }
            _ => None,
        });
        Self(hops.unwrap_or(USUAL))
    }

    /// What is left after one more hop, if anything is.
    pub(crate) fn after_one(self) -> Option<Self> {
        self.0.checked_sub(1).filter(|left| *left > 0).map(Self)
    }

    /// Has everything that leaves by a socket have so many.
    pub(crate) fn limit(self, socket: &SockRef<'_>, family: IpFamily) -> io::Result<()> {
        match family {
            IpFamily::V4 => socket.set_ttl_v4(self.0),
            IpFamily::V6 => socket.set_unicast_hops_v6(self.0),
        }
    }
}

/// Has the kernel tell the hops with each datagram that comes to a socket.
pub(crate) fn have_told(socket: &SockRef<'_>, family: IpFamily) -> io::Result<()> {
    match family {
        IpFamily::V4 => Ok(setsockopt(&**socket, ToldV4, &true)?),
        IpFamily::V6 => socket.set_recv_hoplimit_v6(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hop_is_not_taken() {
        let left = |hops| Hops(hops).after_one();
        assert_eq!((left(64), left(2)), (Some(Hops(63)), Some(Hops(1))));
        assert_eq!((left(1), left(0)), (None, None));
    }

    #[test]
    fn an_accepted_connection_tells_the_hops_it_came_with() {
        for (address, family) in [("127.0.0.1:0", IpFamily::V4), ("[::1]:0", IpFamily::V6)] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let to = listener.local_addr().unwrap();
            let domain = socket2::Domain::for_address(to);
            let client = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
            Hops(17).limit(&SockRef::from(&client), family).unwrap();
            client.connect(&to.into()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(Hops::of_connection(&SockRef::from(&accepted), family), Hops(17));
        }
    }
}

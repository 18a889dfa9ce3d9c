//! Sockets at addresses of which only a port is this node's ([`crate::capture`]).
//!
//! ICMP errors about what they send go to whoever has the address, so they never learn that packets are too long for
//! their path. What they send is as short as every path must take, or may be taken apart on the way.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetUsize;
use socket2::{Socket, Type};

/// Whether packets may be taken apart on their way: `IP_MTU_DISCOVER`, ip(7). `IP_PMTUDISC_DONT` of linux/in.h lets them.
#[derive(Debug, Clone, Copy)]
struct MtuDiscover;

nix::setsockopt_impl!(MtuDiscover, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, usize, SetUsize);

/// How long the fragments of a datagram may be: `IPV6_MTU`, ipv6(7).
#[derive(Debug, Clone, Copy)]
struct MtuV6;

nix::setsockopt_impl!(MtuV6, libc::IPPROTO_IPV6, libc::IPV6_MTU, usize, SetUsize);

/// What every path takes of IPv6, in bytes (RFC 8200 section 5), and what that leaves for TCP after both headers.
const LEAST_MTU_V6: usize = 1280;
const LEAST_MSS_V6: u32 = 1220;
const LET_THEM: usize = 0;

/// Prepares a socket that is not bound yet.
pub(crate) fn prepare(socket: &Socket, address: SocketAddr, kind: Type) -> io::Result<()> {
    if address.is_ipv4() {
        // Lets it answer from an address that the table `local` does not have. Where a capability for it is missing the
        // address was made this node's by somebody else.
        let _ = socket.set_ip_transparent_v4(true);
        Ok(setsockopt(socket, MtuDiscover, &LET_THEM)?)
    } else if kind == Type::STREAM {
        socket.set_tcp_mss(LEAST_MSS_V6)
    } else {
        Ok(setsockopt(socket, MtuV6, &LEAST_MTU_V6)?)
    }
}

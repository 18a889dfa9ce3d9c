//! Learns why a TCP connection was refused without waiting for a second refusal.
//!
//! A `reject` rule answers a SYN with an ICMP error. Between namespaces of one machine that answer is often
//! there before `connect` has let go of its socket; the kernel then only notes it, goes on trying, and tells
//! of the next refusal, a second later (`tcp_v6_err` in `net/ipv6/tcp_ipv6.c` asks `sock_owned_by_user`). The
//! socket's error queue has it at once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::libc::{sock_extended_err, sockaddr_in6};
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use socket2::Socket;

/// Connects within `patience`, and reports an ICMP error as the reason where there was one.
pub(super) fn connect(socket: &Socket, to: SocketAddr, patience: Duration) -> io::Result<()> {
    queue_errors(socket, to, true)?;
    let connected = socket.connect_timeout(&to.into(), patience);
    connected.map_err(|error| queued_error(socket).unwrap_or(error))?;
    // With a queue, an established connection would break at an error that it should live through.
    queue_errors(socket, to, false)
}

fn queue_errors(socket: &Socket, to: SocketAddr, wanted: bool) -> io::Result<()> {
    match to {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4RecvErr, &wanted)?,
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvErr, &wanted)?,
    }
    Ok(())
}

fn queued_error(socket: &Socket) -> Option<io::Error> {
    let mut space = cmsg_space!(sock_extended_err, sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut [], Some(&mut space), flags).ok()?;
    let number = message.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            Some(error.ee_errno)
        }
        _ => None,
    })?;
    Some(io::Error::from_raw_os_error(number.cast_signed()))
}

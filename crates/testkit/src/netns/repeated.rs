//! Whether the kernel had to send a SYN again, which says that the first one, or its answer, was lost.
//!
//! How long a connection took does not say that: on a busy machine an answer is late without any loss.

use std::io;

use nix::libc::{self, tcp_info};
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use socket2::Socket;

sockopt_impl!(
    /// State and counters of a connection.
    TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, tcp_info);

/// Whether this connection, on which nothing but the handshake has been sent, took more than one SYN.
pub(super) fn was_repeated(socket: &Socket) -> io::Result<bool> {
    Ok(getsockopt(socket, TcpInfo)?.tcpi_total_retrans > 0)
}

//! Whether the kernel had to send a SYN again, which says that the first one, or its answer, was lost.
//!
//! How long a connection took does not say that: on a busy machine an answer is late without any loss.

use std::io;
use std::mem::offset_of;

use nix::libc::{self, tcp_info};
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use socket2::Socket;

/// Where `tcpi_total_retrans` is, in words.
const TOTAL_RETRANS: usize = offset_of!(tcp_info, tcpi_total_retrans) / size_of::<u32>();

/// The beginning of `struct tcp_info`, which every kernel has. Newer kernels append to it.
type Start = [u32; TOTAL_RETRANS + 1];

sockopt_impl!(
    /// State and counters of a connection.
    TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, Start);

/// Whether this connection, on which nothing but the handshake has been sent, took more than one SYN.
pub(super) fn was_repeated(socket: &Socket) -> io::Result<bool> {
    Ok(getsockopt(socket, TcpInfo)?[TOTAL_RETRANS] > 0)
}

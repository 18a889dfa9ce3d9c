//! The socket's options: timeout, buffers, extended errors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::NetlinkError;

/// Wanted receive buffer, in bytes: a rejected batch brings one answer for each message.
const RECEIVE_BUFFER: usize = 1 << 20;
/// `netlink_sendmsg` takes a message when it is at least this much smaller than the send buffer.
const SEND_OVERHEAD: usize = 32;

/// Sets the options that never change.
pub(super) fn prepare(socket: &mnl::Socket, timeout: Duration) -> Result<(), NetlinkError> {
    let descriptor = borrow(socket);
    let timeout = TimeVal::new(i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX), 0);
    setsockopt(&descriptor, sockopt::ReceiveTimeout, &timeout).map_err(failed("SO_RCVTIMEO"))?;
    // Linux 4.12 and 4.3; answers are understood without them.
    let _ = enable(descriptor, libc::NETLINK_EXT_ACK);
    let _ = enable(descriptor, libc::NETLINK_CAP_ACK);
    set_receive_buffer(descriptor, RECEIVE_BUFFER);
    Ok(())
}

/// The most bytes one call can send.
pub(super) fn send_limit(socket: &mnl::Socket) -> Result<usize, NetlinkError> {
    let size = getsockopt(&borrow(socket), sockopt::SndBuf).map_err(failed("SO_SNDBUF"))?;
    Ok(size.saturating_sub(SEND_OVERHEAD))
}

/// Grows the send buffer to `wanted` bytes if the system allows it, and returns the limit reached.
///
/// Beyond `net.core.wmem_max` this takes `CAP_NET_ADMIN` in the initial user namespace.
pub(super) fn grow_send_buffer(socket: &mnl::Socket, wanted: usize) -> Result<usize, NetlinkError> {
    // The kernel doubles the figure, for its own overhead in other protocols.
    let size = (wanted + SEND_OVERHEAD).div_ceil(2);
    let descriptor = borrow(socket);
    if setsockopt(&descriptor, sockopt::SndBufForce, &size).is_err() {
        setsockopt(&descriptor, sockopt::SndBuf, &size).map_err(failed("SO_SNDBUF"))?;
    }
    send_limit(socket)
}

/// Doubles the receive buffer as far as the system allows it.
pub(super) fn grow_receive_buffer(socket: &mnl::Socket) {
    let descriptor = borrow(socket);
    // Reading gives twice what was set, so setting what was read doubles.
    if let Ok(size) = getsockopt(&descriptor, sockopt::RcvBuf) {
        set_receive_buffer(descriptor, size);
    }
}

/// A failure is ignored: lost answers are detected and requested again.
pub(crate) fn set_receive_buffer(descriptor: BorrowedFd<'_>, size: usize) {
    if setsockopt(&descriptor, sockopt::RcvBufForce, &size).is_err() {
        let _ = setsockopt(&descriptor, sockopt::RcvBuf, &size);
    }
}

fn failed(option: &'static str) -> impl Fn(nix::errno::Errno) -> NetlinkError {
    move |errno| NetlinkError::Option { option, source: io::Error::from(errno) }
}

#[expect(unsafe_code, reason = "mnl::Socket lends its descriptor only as a number")]
pub(super) fn borrow(socket: &mnl::Socket) -> BorrowedFd<'_> {
    // SAFETY: the socket owns this descriptor and keeps it open as long as it lives, and the
    // result borrows the socket.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

#[expect(unsafe_code, reason = "no safe wrapper knows the options of SOL_NETLINK")]
fn enable(descriptor: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).map_err(io::Error::other)?;
    // SAFETY: the pointer and length describe `on`, which lives until the call returns; the kernel
    // only reads from it.
    let result = unsafe {
        libc::setsockopt(descriptor.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! Reading from the socket.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::options::borrow;
use crate::NetlinkError;

/// The result of a read.
pub(super) enum Received {
    /// This many bytes of whole messages.
    Bytes(usize),
    /// Nothing within the timeout.
    Nothing,
    /// The kernel dropped answers because the receive buffer was full (`ENOBUFS`).
    Overrun,
}

/// The largest piece the kernel hands out is 32 KiB (`netlink_recvmsg`); twice that is safe.
const SIZE: usize = 64 << 10;

/// The buffer for one read, aligned as libmnl wants message headers to be.
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    const ALIGNMENT: usize = 16;

    pub(super) fn new() -> Self {
        let memory = vec![0; SIZE + Self::ALIGNMENT];
        let start = memory.as_ptr().align_offset(Self::ALIGNMENT);
        Self { memory, start }
    }

    pub(super) fn bytes(&self, length: usize) -> &[u8] {
        &self.memory[self.start..][..length.min(SIZE)]
    }

    fn writable(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..SIZE]
    }
}

pub(super) fn receive(socket: &mnl::Socket, buffer: &mut Buffer) -> Result<Received, NetlinkError> {
    loop {
        let error = match socket.recv_raw(buffer.writable()) {
            Ok(length) => return Ok(Received::Bytes(length)),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN) => return Ok(Received::Nothing),
            // ENOSPC: libmnl found a truncated message, which loses answers, too.
            Some(libc::ENOBUFS | libc::ENOSPC) => return Ok(Received::Overrun),
            _ => return Err(NetlinkError::Receive { source: error }),
        }
    }
}

/// Whether a read would return at once.
pub(super) fn is_readable(socket: &mnl::Socket) -> Result<bool, NetlinkError> {
    let descriptor = borrow(socket);
    let mut watched = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut watched, PollTimeout::ZERO) {
            Ok(ready) => return Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(NetlinkError::Receive { source: io::Error::from(errno) }),
        }
    }
}

//! Receives the notices of multicast groups.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::socket::set_receive_buffer;
use crate::{Message, MessageIter, NetlinkError, Protocol};

/// The largest datagram is `NLMSG_GOODSIZE`, 8 KiB at most; a single larger message is truncated and not read.
const BUFFER: usize = 32 << 10;

/// Whether all notices arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// All of them.
    All,
    /// Some were lost: the socket's receive buffer was full.
    Part,
}

/// Receives notices in the network namespace that it was opened in. Never blocks.
#[derive(Debug)]
pub struct Monitor {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Joins these groups, one bit for each; earlier changes are not reported.
    ///
    /// # Errors
    /// The socket cannot be opened, or the process may not join.
    pub fn open(protocol: Protocol, groups: u32) -> Result<Self, NetlinkError> {
        let open = || -> Result<OwnedFd, Errno> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let number = match protocol {
                Protocol::Route => SockProtocol::NetlinkRoute,
                Protocol::Netfilter => SockProtocol::NetlinkNetFilter,
                Protocol::Generic => SockProtocol::NetlinkGeneric,
            };
            let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, number)?;
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
            Ok(fd)
        };
        let opened =
            open().map_err(|errno| NetlinkError::Open { protocol: protocol.name(), source: errno.into() });
        Ok(Self { socket: opened?, buffer: vec![0; BUFFER] })
    }

    /// Sets the receive buffer to this many bytes, as far as the system allows it.
    #[must_use]
    pub fn with_receive_buffer(self, bytes: usize) -> Self {
        set_receive_buffer(self.socket.as_fd(), bytes);
        self
    }

    /// Reads all messages there are by now.
    ///
    /// # Errors
    /// The socket failed and cannot be used any more.
    pub fn listen(&mut self, mut each: impl FnMut(&Message<'_>)) -> io::Result<Heard> {
        let mut heard = Heard::All;
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    MessageIter::new(bytes).for_each(|message| each(&message));
                }
                Err(Errno::ENOBUFS) => heard = Heard::Part,
                Err(Errno::EAGAIN) => return Ok(heard),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The socket itself, which is readable when there are notices.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

/// The socket, readable when there are notices.
impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

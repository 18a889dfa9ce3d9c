//! Listens to what the kernel tells all who have joined a multicast group.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::socket::set_receive_buffer;
use crate::{Message, MessageIter, NetlinkError, Protocol};

/// The largest datagram is `NLMSG_GOODSIZE`, 8 KiB at most; a single larger message is cut off and not read.
const BUFFER: usize = 32 << 10;

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// All there was.
    All,
    /// There was more than the socket had room for.
    Part,
}

/// Listens to multicast groups in the network namespace that it was opened in. Never waits.
#[derive(Debug)]
pub struct Monitor {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Joins these groups, one bit for each; what came before is not told.
    ///
    /// # Errors
    /// The kernel gives no such socket, or the process may not join.
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

    /// Keeps up to so many bytes of what is not read yet, as far as the system allows it.
    #[must_use]
    pub fn with_receive_buffer(self, bytes: usize) -> Self {
        set_receive_buffer(self.socket.as_fd(), bytes);
        self
    }

    /// Takes in all messages that there are by now.
    ///
    /// # Errors
    /// The socket is of no more use.
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

    /// The socket itself, readable when there is something to be heard, for those who wait in ways of their own.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

/// The socket, readable when there is something to be heard.
impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

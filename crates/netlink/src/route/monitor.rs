//! Word of addresses that come and go, as the kernel sends it to all who listen.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use super::{Family, InterfaceAddress, read_address};
use crate::{MessageIter, NetlinkError};

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`, linux/rtnetlink.h.
const GROUP_V4: u32 = 0x10;
const GROUP_V6: u32 = 0x100;

/// Room for one datagram, which brings one address.
const ROOM: usize = 8192;

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// All there was.
    All,
    /// There was more than the socket had room for.
    Part,
}

/// Listens to changes of addresses in the network namespace that it was opened in. Never waits.
#[derive(Debug)]
pub struct AddressMonitor {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl AddressMonitor {
    /// Begins to listen; what came before is not told.
    ///
    /// # Errors
    /// The kernel gives no such socket.
    pub fn open(family: Family) -> Result<Self, NetlinkError> {
        let open = || -> Result<OwnedFd, Errno> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkRoute)?;
            let group = if family == Family::V4 { GROUP_V4 } else { GROUP_V6 };
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, group))?;
            Ok(fd)
        };
        let opened = open().map_err(|errno| NetlinkError::Open { protocol: "routing", source: errno.into() });
        Ok(Self { socket: opened?, buffer: vec![0; ROOM] })
    }

    /// Takes in all there is to be heard by now, and hands on each address that came or went.
    ///
    /// # Errors
    /// The socket is of no more use.
    pub fn listen(&mut self, mut changed: impl FnMut(InterfaceAddress)) -> io::Result<Heard> {
        let mut heard = Heard::All;
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    MessageIter::new(bytes)
                        .filter_map(|message| read_address(&message))
                        .for_each(&mut changed);
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

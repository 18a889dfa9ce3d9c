//! The node's own addresses, and word of their changes.
//!
//! Node ports answer on them, and who sends from one of them is a program on the node.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use portolan_core::IpFamily;
use portolan_netlink::{NetlinkError, NetlinkSocket, Protocol};
use tokio::net::UdpSocket;

use crate::rtnetlink::{self, InterfaceAddress, kind};

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`, linux/rtnetlink.h.
const ADDRESSES_V4: u32 = 0x10;
const ADDRESSES_V6: u32 = 0x100;

/// All addresses of one family, without loopback's.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn list(family: IpFamily) -> Result<Vec<InterfaceAddress>, NetlinkError> {
    let mut socket = NetlinkSocket::open(Protocol::Route)?;
    let question = rtnetlink::write_question(kind::GET_ADDRESS, family);
    let mut all = socket.dump(kind::GET_ADDRESS, question, |found: &mut Vec<_>, message| {
        found.extend(rtnetlink::read_address(message));
    })?;
    all.retain(|found| !found.address.is_loopback() && IpFamily::of(found.address) == family);
    all.sort_unstable();
    all.dedup_by_key(|found| found.address);
    Ok(all)
}

impl InterfaceAddress {
    /// A port of this address. Link-local ones (RFC 4291 section 2.5.6) mean something on one interface only.
    pub(crate) fn socket(self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                SocketAddrV6::new(address, port, 0, self.interface).into()
            }
            address => SocketAddr::new(address, port),
        }
    }
}

/// Wakes up when addresses of a family come or go.
///
/// The runtime waits for datagrams, and a netlink socket's messages are no others; what the type says of
/// addresses is not used.
#[derive(Debug)]
pub(crate) struct Changes(UdpSocket);

impl Changes {
    /// Begins to listen; what came before is not told. Must be called within a runtime.
    ///
    /// # Errors
    /// The kernel gives no such socket.
    pub(crate) fn of(family: IpFamily) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkRoute)?;
        let group = if family == IpFamily::V4 { ADDRESSES_V4 } else { ADDRESSES_V6 };
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, group))?;
        Ok(Self(UdpSocket::from_std(fd.into())?))
    }

    /// Returns after at least one change, having taken in word of all there were so far.
    ///
    /// # Errors
    /// The socket is of no more use.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        self.0.readable().await?;
        loop {
            // Only that something changed counts.
            match self.0.try_recv(&mut [0; 4096]) {
                Ok(_) => {}
                // What did not fit into the socket's buffer was a change as well.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

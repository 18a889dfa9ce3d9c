//! The node's own addresses, and word of their changes.
//!
//! Node ports answer on them, and who sends from one of them is a program on the node.

use std::io;

use portolan_core::IpFamily;
use portolan_netlink::route::AddressMonitor;
use portolan_netlink::{NetlinkError, NetlinkSocket, Protocol};
use tokio::net::UdpSocket;

use crate::rtnetlink::{self, InterfaceAddress, kind};

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
    // A link-local address may be that of several interfaces, and is another on each.
    all.dedup_by_key(|found| found.socket(0));
    Ok(all)
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
        let monitor = AddressMonitor::open(rtnetlink::family(family)).map_err(io::Error::other)?;
        Ok(Self(UdpSocket::from_std(monitor.into_socket().into())?))
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

//! Which addresses are this node's own, as routing sees it.
//!
//! The rules for node ports ask `fib daddr type local`, which is not only what interfaces carry: a
//! local route makes any address this node's. So routing is asked, one address at a time, which
//! costs some microseconds and needs no privilege.

use std::collections::HashMap;
use std::net::IpAddr;

use portolan_netlink::{Message, MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};

/// `RTM_GETROUTE`, linux/rtnetlink.h.
const GET_ROUTE: u16 = 26;
/// `RTA_DST`, linux/rtnetlink.h.
const DESTINATION: u16 = 1;
/// `RTN_LOCAL`, linux/rtnetlink.h.
const LOCAL: u8 = 2;
/// The length of `struct rtmsg`, linux/rtnetlink.h, and where in it the kind of route is.
const HEADER_LEN: usize = 12;
const KIND_AT: usize = 7;

/// What routing has said so far. Good for one check: addresses come and go.
#[derive(Debug)]
pub(crate) struct OwnAddresses {
    socket: NetlinkSocket,
    known: HashMap<IpAddr, bool>,
}

impl OwnAddresses {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        Ok(Self { socket: NetlinkSocket::open(Protocol::Route)?, known: HashMap::new() })
    }

    /// Whether packets to `address` end on this node.
    pub(crate) fn has(&mut self, address: IpAddr) -> Result<bool, NetlinkError> {
        if let Some(known) = self.known.get(&address) {
            return Ok(*known);
        }
        let is_own = match self.socket.request(GET_ROUTE, flag::ACK, ask(address), read_kind) {
            Ok(kind) => kind == Some(LOCAL),
            // There is no route, or one that turns packets away.
            Err(NetlinkError::Refused { .. }) => false,
            Err(error) => return Err(error),
        };
        self.known.insert(address, is_own);
        Ok(is_own)
    }
}

fn ask(address: IpAddr) -> impl FnOnce(&mut MessageWriter<'_>) {
    /// `AF_INET` and `AF_INET6` with the length of a whole address in bits.
    const V4: [u8; 2] = [2, 32];
    const V6: [u8; 2] = [10, 128];
    move |request| {
        let mut header = [0; HEADER_LEN];
        header[..2].copy_from_slice(if address.is_ipv4() { &V4 } else { &V6 });
        request.bytes(&header);
        match address {
            IpAddr::V4(v4) => request.attribute(DESTINATION, &v4.octets()),
            IpAddr::V6(v6) => request.attribute(DESTINATION, &v6.octets()),
        };
    }
}

fn read_kind(kind: &mut Option<u8>, answer: &Message<'_>) {
    *kind = answer.payload.get(KIND_AT).copied();
}

#[cfg(test)]
mod tests;

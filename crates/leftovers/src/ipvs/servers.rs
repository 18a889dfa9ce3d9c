//! IPVS's virtual servers, over generic netlink.
//!
//! Numbers are from linux/ip_vs.h. Families and protocols are in the host's order, addresses and ports in the
//! network's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portolan_core::IpFamily;
use portolan_netlink::{
    GENERIC_HEADER_LEN, Message, MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag, generic_header,
};

use crate::LeftoverError;
use crate::outcome::Progress;

/// `IPVS_GENL_NAME` and `IPVS_GENL_VERSION`.
const FAMILY: &str = "IPVS";
const VERSION: u8 = 1;
/// `IPVS_CMD_DEL_SERVICE` and `IPVS_CMD_GET_SERVICE`.
const DELETE_SERVICE: u8 = 3;
const GET_SERVICE: u8 = 4;
/// `IPVS_CMD_ATTR_SERVICE`
const SERVICE: u16 = 1;

/// `IPVS_SVC_ATTR_*`
mod service {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const ADDRESS: u16 = 3;
    pub(super) const PORT: u16 = 4;
}

/// A virtual server that is known by address and port; those known by a mark are never kube-proxy's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// The number in the IP header.
    pub(super) protocol: u16,
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of protocol {}", std::net::SocketAddr::new(self.address, self.port), self.protocol)
    }
}

/// The virtual servers of the network namespace that the socket was opened in.
pub(super) struct Servers {
    socket: NetlinkSocket,
    family: u16,
}

impl Servers {
    /// Nothing if the kernel has no IPVS, or has not loaded it.
    pub(super) fn open() -> Result<Option<Self>, LeftoverError> {
        let opened = NetlinkSocket::open(Protocol::Generic).and_then(|mut socket| {
            let family = socket.generic_family(FAMILY)?;
            Ok(family.map(|family| Self { socket, family }))
        });
        opened.map_err(|source| LeftoverError::Read { what: "whether there is IPVS".to_owned(), source })
    }

    /// Those of a family.
    pub(super) fn list(&mut self, family: IpFamily) -> Result<Vec<Server>, LeftoverError> {
        let all = |request: &mut MessageWriter<'_>| {
            request.bytes(&generic_header(GET_SERVICE, VERSION));
        };
        let take = |all: &mut Vec<Server>, message: &Message<'_>| all.extend(server(message, family));
        let failed = |source| LeftoverError::Read { what: format!("virtual servers of {family}"), source };
        self.socket.dump(self.family, all, take).map_err(failed)
    }

    /// Deletes virtual servers, each whatever becomes of the others.
    pub(super) fn delete(
        &mut self,
        servers: impl Iterator<Item = Server>,
        progress: &mut Progress,
    ) -> Result<(), LeftoverError> {
        let mut left: Option<(usize, Server, NetlinkError)> = None;
        for server in servers {
            match self.delete_one(&server) {
                Ok(()) => progress.removed += 1,
                // Gone already.
                Err(error) if error.errno() == Some(libc::ESRCH) => {}
                Err(error) => {
                    left =
                        Some(left.map_or((1, server, error), |(count, first, why)| (count + 1, first, why)));
                }
            }
        }
        let what = "virtual servers";
        left.map_or(Ok(()), |(left, first, source)| {
            Err(LeftoverError::Left { left, what, first: first.to_string(), source })
        })
    }

    fn delete_one(&mut self, server: &Server) -> Result<(), NetlinkError> {
        let fill = |request: &mut MessageWriter<'_>| write_deletion(request, server);
        self.socket.request(self.family, flag::ACK, fill, |(): &mut (), _| {})
    }
}

fn write_deletion(request: &mut MessageWriter<'_>, server: &Server) {
    request.bytes(&generic_header(DELETE_SERVICE, VERSION));
    request.nest(SERVICE, |fields| {
        fields.attribute(
            service::FAMILY,
            &u16::from(address_family(IpFamily::of(server.address))).to_ne_bytes(),
        );
        fields.attribute(service::PROTOCOL, &server.protocol.to_ne_bytes());
        fields.attribute(service::ADDRESS, &address_field(server.address));
        fields.attribute(service::PORT, &server.port.to_be_bytes());
    });
}

/// A virtual server of this family, if it is known by its address.
fn server(message: &Message<'_>, family: IpFamily) -> Option<Server> {
    let fields = message.attributes(GENERIC_HEADER_LEN).find_kind(SERVICE)?.nested();
    let field = |kind| Some(fields.find_kind(kind)?.value);
    let short = |kind| field(kind)?.try_into().ok();
    if short(service::FAMILY).map(u16::from_ne_bytes)? != u16::from(address_family(family)) {
        return None;
    }
    Some(Server {
        protocol: short(service::PROTOCOL).map(u16::from_ne_bytes)?,
        address: address(field(service::ADDRESS)?, family)?,
        port: short(service::PORT).map(u16::from_be_bytes)?,
    })
}

/// `AF_INET` or `AF_INET6`, linux/socket.h.
pub(super) const fn address_family(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => 2,
        IpFamily::V6 => 10,
    }
}

/// An address from its bytes, of which there may be more than the family has (`union nf_inet_addr`).
pub(super) fn address(bytes: &[u8], family: IpFamily) -> Option<IpAddr> {
    match family {
        IpFamily::V4 => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        IpFamily::V6 => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
    }
}

/// `union nf_inet_addr`, linux/netfilter.h.
fn address_field(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut field = [0; 16];
            field[..4].copy_from_slice(&address.octets());
            field
        }
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests;

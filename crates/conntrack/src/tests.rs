//! Entries for this crate's unit tests, created without traffic.

use std::net::SocketAddrV4;

use portolan_netlink::{MessageWriter, NetlinkSocket, Protocol, flag};

use crate::wire::{self, entry, ip, message, protocol, tuple};

/// `IPPROTO_TCP`
pub(crate) const TCP: u8 = 6;

/// Tracks a flow from `source` that was sent to `destination` and translated to `endpoint`.
pub(crate) fn insert(protocol: u8, source: &str, destination: &str, endpoint: &str) {
    /// `CTA_TIMEOUT`, in seconds.
    const TIMEOUT: u16 = 7;
    let [source, destination, endpoint] = [source, destination, endpoint].map(|text| text.parse().unwrap());
    let fill = |request: &mut MessageWriter<'_>| {
        request.bytes(&wire::header(Some(portolan_core::IpFamily::V4)));
        request.nest(entry::ORIGINAL, |tuple| write(tuple, protocol, source, destination));
        request.nest(entry::REPLY, |tuple| write(tuple, protocol, endpoint, source));
        request.attribute(TIMEOUT, &600_u32.to_be_bytes());
    };
    let mut socket = NetlinkSocket::open(Protocol::Netfilter).unwrap();
    let flags = flag::CREATE | flag::EXCL | flag::ACK;
    socket.request::<()>(message::NEW, flags, fill, |(), _| ()).unwrap();
}

fn write(tuple: &mut MessageWriter<'_>, number: u8, source: SocketAddrV4, destination: SocketAddrV4) {
    tuple.nest(tuple::IP, |nested| {
        nested.attribute(ip::V4_SOURCE, &source.ip().octets());
        nested.attribute(ip::V4_DESTINATION, &destination.ip().octets());
    });
    tuple.nest(tuple::PROTOCOL, |nested| {
        nested.attribute(protocol::NUMBER, &[number]);
        nested.attribute(protocol::SOURCE_PORT, &source.port().to_be_bytes());
        nested.attribute(protocol::DESTINATION_PORT, &destination.port().to_be_bytes());
    });
}

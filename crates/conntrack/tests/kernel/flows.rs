//! Entries of the table, made and read without any code of the crate under test.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use portolan_core::flows::Flow;
use portolan_netlink::{AttributeIter, Message, MessageWriter, NetlinkSocket, Protocol, flag};

/// linux/netfilter/nfnetlink_conntrack.h: `IPCTNL_MSG_CT_NEW`, `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`.
const NEW: u16 = 0x100;
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
/// `IPPROTO_*`, linux/in.h.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;

/// One entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tracked {
    pub(crate) protocol: u8,
    pub(crate) zone: u16,
    pub(crate) flow: Flow,
}

impl Tracked {
    pub(crate) fn of(self, protocol: u8) -> Self {
        Self { protocol, ..self }
    }

    pub(crate) fn in_zone(self, zone: u16) -> Self {
        Self { zone, ..self }
    }

    /// The endpoint answers to `node` and not to the source.
    pub(crate) fn masqueraded(mut self, node: &str) -> Self {
        self.flow.reply_destination = node.parse().unwrap();
        self
    }
}

/// A UDP flow that was sent to `destination` and translated to `endpoint`.
pub(crate) fn translated(source: &str, destination: &str, endpoint: &str) -> Tracked {
    let [source, destination, reply_source] =
        [source, destination, endpoint].map(|text| text.parse::<SocketAddr>().unwrap());
    let flow = Flow { source, destination, reply_source, reply_destination: source };
    Tracked { protocol: UDP, zone: 0, flow }
}

/// A UDP flow that nothing translated.
pub(crate) fn untranslated(source: &str, destination: &str) -> Tracked {
    translated(source, destination, destination)
}

/// Puts entries into the table; all must be new to it.
pub(crate) fn track(flows: impl IntoIterator<Item = Tracked>) {
    let flows: Vec<_> = flows.into_iter().collect();
    let wanted = flows.len();
    assert_eq!(track_where_free(&flows), wanted, "some flows were there already");
}

/// Puts entries into the table, but for those that collide with others; returns how many there were.
pub(crate) fn track_where_free(flows: &[Tracked]) -> usize {
    let mut socket = NetlinkSocket::open(Protocol::Netfilter).unwrap();
    let mut made = 0;
    for some in flows.chunks(100) {
        let mut batch = socket.new_batch();
        for flow in some {
            let flags = flag::REQUEST | flag::CREATE | flag::EXCL;
            batch.add(NEW, flags, |message| write(*flow, message)).unwrap();
        }
        batch.set_flags(batch.last().unwrap(), flag::ACK);
        let nacks = socket.send_each(&batch).unwrap();
        let is_collision = |errno: i32| errno == 17;
        assert!(nacks.iter().all(|refusal| is_collision(refusal.errno)), "{nacks:?}");
        made += some.len() - nacks.len();
    }
    made
}

/// The whole table.
pub(crate) fn tracked() -> HashSet<Tracked> {
    let mut socket = NetlinkSocket::open(Protocol::Netfilter).unwrap();
    let all = |message: &mut MessageWriter<'_>| _ = message.bytes(&[0; 4]);
    let read = |found: &mut Vec<Tracked>, message: &Message<'_>| found.extend(read(message));
    socket.dump(GET, all, read).unwrap().into_iter().collect()
}

/// Empties the table.
pub(crate) fn forget_all() {
    let mut socket = NetlinkSocket::open(Protocol::Netfilter).unwrap();
    let all = |message: &mut MessageWriter<'_>| _ = message.bytes(&[0; 4]);
    socket.request::<()>(DELETE, flag::ACK, all, |(), _| ()).unwrap();
}

fn write(tracked: Tracked, message: &mut MessageWriter<'_>) {
    let flow = tracked.flow;
    message.bytes(&[if flow.source.is_ipv4() { 2 } else { 10 }, 0, 0, 0]);
    let ends = [(1, flow.source, flow.destination), (2, flow.reply_source, flow.reply_destination)];
    for (tuple, source, destination) in ends {
        message.nest(tuple, |tuple| {
            tuple.nest(1, |ip| {
                write_ip(ip, source.ip(), [1, 3]);
                write_ip(ip, destination.ip(), [2, 4]);
            });
            tuple.nest(2, |protocol| {
                protocol.attribute(1, &[tracked.protocol]);
                protocol.attribute(2, &source.port().to_be_bytes());
                protocol.attribute(3, &destination.port().to_be_bytes());
            });
        });
    }
    // CTA_TIMEOUT, in seconds: longer than any test.
    message.attribute(7, &600_u32.to_be_bytes());
    if tracked.zone != 0 {
        message.attribute(18, &tracked.zone.to_be_bytes());
    }
}

fn write_ip(ip: &mut MessageWriter<'_>, address: IpAddr, [v4, v6]: [u16; 2]) {
    match address {
        IpAddr::V4(address) => ip.attribute(v4, &address.octets()),
        IpAddr::V6(address) => ip.attribute(v6, &address.octets()),
    };
}

/// Nothing for protocols without ports.
fn read(message: &Message<'_>) -> Option<Tracked> {
    let attributes = message.attributes(4);
    let (protocol, source, destination) = read_tuple(&attributes.find_kind(1)?.nested())?;
    let (_, reply_source, reply_destination) = read_tuple(&attributes.find_kind(2)?.nested())?;
    let zone = attributes.find_kind(18).map_or(0, |zone| u16::from_be_bytes(zone.value.try_into().unwrap()));
    Some(Tracked { protocol, zone, flow: Flow { source, destination, reply_source, reply_destination } })
}

fn read_tuple(tuple: &AttributeIter<'_>) -> Option<(u8, SocketAddr, SocketAddr)> {
    let ip = tuple.find_kind(1)?.nested();
    let protocol = tuple.find_kind(2)?.nested();
    let address = |v4: u16, v6: u16| {
        let v4 = ip.find_kind(v4).map(|a| IpAddr::from(<[u8; 4]>::try_from(a.value).unwrap()));
        v4.or_else(|| ip.find_kind(v6).map(|a| IpAddr::from(<[u8; 16]>::try_from(a.value).unwrap())))
    };
    let port = |kind| Some(u16::from_be_bytes(protocol.find_kind(kind)?.value.try_into().unwrap()));
    let source = SocketAddr::new(address(1, 3)?, port(2)?);
    let destination = SocketAddr::new(address(2, 4)?, port(3)?);
    Some((protocol.find_kind(1)?.as_u8()?, source, destination))
}

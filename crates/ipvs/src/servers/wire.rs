//! Messages about virtual servers.
//!
//! Numbers are from linux/ip_vs.h. Families, protocols, flags and counts are in the host's order, addresses,
//! ports and IPv4 masks in the network's.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::{IpFamily, Protocol};
use portolan_netlink::{AttributeIter, GENERIC_HEADER_LEN, Message, MessageWriter, generic_header};

use super::key::{Destination, Server, ServerKey, ServerSettings, Timeouts, server_flag};
use crate::address;

/// `IPVS_GENL_NAME` and `IPVS_GENL_VERSION`.
pub(super) const FAMILY: &str = "IPVS";
pub(super) const VERSION: u8 = 1;

/// `IPVS_CMD_*`
pub(super) const NEW_SERVICE: u8 = 1;
pub(super) const SET_SERVICE: u8 = 2;
pub(super) const DELETE_SERVICE: u8 = 3;
pub(super) const GET_SERVICE: u8 = 4;
pub(super) const NEW_DESTINATION: u8 = 5;
pub(super) const SET_DESTINATION: u8 = 6;
pub(super) const DELETE_DESTINATION: u8 = 7;
pub(super) const GET_DESTINATION: u8 = 8;
pub(super) const SET_CONFIG: u8 = 12;
pub(super) const GET_CONFIG: u8 = 13;

/// `NFNL_MSG_COMPAT_GET` of `NFNL_SUBSYS_NFT_COMPAT`, linux/netfilter/nf_tables_compat.h: asks about an extension
/// of iptables, and makes the kernel load its module (`nfnl_compat_get_rcu`, net/netfilter/nft_compat.c).
pub(super) const GET_COMPATIBLE: u16 = 11 << 8;

/// `NFTA_COMPAT_*` of that message.
mod compatible {
    pub(super) const NAME: u16 = 1;
    pub(super) const REVISION: u16 = 2;
    pub(super) const IS_TARGET: u16 = 3;
}

/// `IPVS_CMD_ATTR_*`
mod command {
    pub(super) const SERVICE: u16 = 1;
    pub(super) const DESTINATION: u16 = 2;
    pub(super) const TIMEOUT_TCP: u16 = 4;
    pub(super) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(super) const TIMEOUT_UDP: u16 = 6;
}

/// `IPVS_SVC_ATTR_*`
mod service {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const ADDRESS: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const SCHEDULER: u16 = 6;
    pub(super) const FLAGS: u16 = 7;
    pub(super) const TIMEOUT: u16 = 8;
    pub(super) const NETMASK: u16 = 9;
}

/// `IPVS_DEST_ATTR_*`
mod destination {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const PORT: u16 = 2;
    pub(super) const FORWARDING: u16 = 3;
    pub(super) const WEIGHT: u16 = 4;
    pub(super) const UPPER_THRESHOLD: u16 = 5;
    pub(super) const LOWER_THRESHOLD: u16 = 6;
    pub(super) const ACTIVE: u16 = 7;
    pub(super) const INACTIVE: u16 = 8;
    pub(super) const FAMILY: u16 = 11;
}

/// `IP_VS_CONN_F_MASQ`: network address translation.
const TRANSLATED: u32 = 0;

/// A request to IPVS, which `fill` completes.
pub(super) fn request(number: u8, fill: impl Fn(&mut MessageWriter<'_>)) -> impl Fn(&mut MessageWriter<'_>) {
    move |message| {
        message.bytes(&generic_header(number, VERSION));
        fill(message);
    }
}

/// Asks about the match `ipvs` of iptables, whose module needs IPVS.
pub(super) fn write_match(message: &mut MessageWriter<'_>) {
    message.bytes(&[address::number(IpFamily::V4), 0, 0, 0]).text(compatible::NAME, "ipvs");
    message.attribute(compatible::REVISION, &[0; 4]).attribute(compatible::IS_TARGET, &[0; 4]);
}

/// Writes which virtual server is meant.
pub(super) fn write_key(message: &mut MessageWriter<'_>, key: &ServerKey) {
    message.nest(command::SERVICE, |fields| write_key_fields(fields, key));
}

fn write_key_fields(fields: &mut MessageWriter<'_>, key: &ServerKey) {
    let family = u16::from(address::number(IpFamily::of(key.address)));
    fields.attribute(service::FAMILY, &family.to_ne_bytes());
    fields.attribute(service::PROTOCOL, &u16::from(key.protocol.number()).to_ne_bytes());
    fields.attribute(service::ADDRESS, &address::union(key.address));
    fields.attribute(service::PORT, &key.port.to_be_bytes());
}

/// Writes a virtual server with all that makes it.
pub(super) fn write_server(message: &mut MessageWriter<'_>, key: &ServerKey, settings: &ServerSettings) {
    // Of IPv4 a mask, of IPv6 the length of a prefix; persistence is by single addresses either way.
    let netmask = match IpFamily::of(key.address) {
        IpFamily::V4 => u32::MAX,
        IpFamily::V6 => 128,
    };
    message.nest(command::SERVICE, |fields| {
        write_key_fields(fields, key);
        write_settings(fields, settings, netmask);
    });
}

/// Writes a virtual server that cannot be, of this scheduler.
pub(super) fn write_impossible(message: &mut MessageWriter<'_>, scheduler: &str) {
    let address = std::net::Ipv6Addr::UNSPECIFIED.into();
    let key = ServerKey { protocol: Protocol::Tcp, address, port: 1 };
    let settings = ServerSettings { scheduler: scheduler.into(), flags: 0, timeout: Duration::ZERO };
    message.nest(command::SERVICE, |fields| {
        write_key_fields(fields, &key);
        write_settings(fields, &settings, 0);
    });
}

fn write_settings(fields: &mut MessageWriter<'_>, settings: &ServerSettings, netmask: u32) {
    // `struct ip_vs_flags`: the flags, and which of them count.
    let mut flags = [0xff; 8];
    flags[..4].copy_from_slice(&settings.flags.to_ne_bytes());
    fields.text(service::SCHEDULER, &settings.scheduler);
    fields.attribute(service::FLAGS, &flags);
    fields.attribute(service::TIMEOUT, &seconds(settings.timeout).to_ne_bytes());
    fields.attribute(service::NETMASK, &netmask.to_ne_bytes());
}

/// Writes where a virtual server leads; without a weight, only which destination is meant.
pub(super) fn write_destination(message: &mut MessageWriter<'_>, to: SocketAddr, weight: Option<u32>) {
    let family = u16::from(address::number(IpFamily::of(to.ip())));
    message.nest(command::DESTINATION, |fields| {
        fields.attribute(destination::ADDRESS, &address::union(to.ip()));
        fields.attribute(destination::PORT, &to.port().to_be_bytes());
        fields.attribute(destination::FAMILY, &family.to_ne_bytes());
        if let Some(weight) = weight {
            fields.attribute(destination::FORWARDING, &TRANSLATED.to_ne_bytes());
            fields.attribute(destination::WEIGHT, &weight.to_ne_bytes());
            fields.attribute(destination::UPPER_THRESHOLD, &[0; 4]);
            fields.attribute(destination::LOWER_THRESHOLD, &[0; 4]);
        }
    });
}

/// Writes time-outs. All three must be there, and the kernel leaves alone those that are zero.
pub(super) fn write_timeouts(message: &mut MessageWriter<'_>, timeouts: Timeouts) {
    message.attribute(command::TIMEOUT_TCP, &seconds(timeouts.tcp).to_ne_bytes());
    message.attribute(command::TIMEOUT_TCP_FIN, &seconds(timeouts.tcp_fin).to_ne_bytes());
    message.attribute(command::TIMEOUT_UDP, &seconds(timeouts.udp).to_ne_bytes());
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// A virtual server of this family, if it is known by its address.
pub(super) fn server(message: &Message<'_>, family: IpFamily) -> Option<Server> {
    let fields = message.attributes(GENERIC_HEADER_LEN).find_kind(command::SERVICE)?.nested();
    let field = |kind| Some(fields.find_kind(kind)?.value);
    let short = |kind| field(kind)?.try_into().ok();
    if short(service::FAMILY).map(u16::from_ne_bytes)? != u16::from(address::number(family)) {
        return None;
    }
    let protocol = short(service::PROTOCOL).map(u16::from_ne_bytes)?;
    let protocol = Protocol::ALL.into_iter().find(|known| u16::from(known.number()) == protocol)?;
    let key = ServerKey {
        protocol,
        address: address::read(field(service::ADDRESS)?, family)?,
        port: short(service::PORT).map(u16::from_be_bytes)?,
    };
    Some(Server { key, settings: settings(&fields).unwrap_or_else(unknown) })
}

fn settings(fields: &AttributeIter<'_>) -> Option<ServerSettings> {
    let flags = fields.find_kind(service::FLAGS)?.value.first_chunk::<4>()?;
    Some(ServerSettings {
        scheduler: fields.find_kind(service::SCHEDULER)?.as_str()?.into(),
        flags: u32::from_ne_bytes(*flags) & !server_flag::HASHED,
        timeout: Duration::from_secs(fields.find_kind(service::TIMEOUT)?.as_u32()?.into()),
    })
}

/// Those of a server that does not tell, which no wanted one has.
fn unknown() -> ServerSettings {
    ServerSettings { scheduler: "".into(), flags: 0, timeout: Duration::ZERO }
}

/// Where a virtual server of this family leads.
pub(super) fn destination(message: &Message<'_>, family: IpFamily) -> Option<Destination> {
    let fields = message.attributes(GENERIC_HEADER_LEN).find_kind(command::DESTINATION)?.nested();
    let number = |kind| fields.find_kind(kind).and_then(|field| field.as_u32());
    let ip = address::read(fields.find_kind(destination::ADDRESS)?.value, family)?;
    let port = fields.find_kind(destination::PORT)?.value.try_into().ok().map(u16::from_be_bytes)?;
    Some(Destination {
        socket: SocketAddr::new(ip, port),
        weight: number(destination::WEIGHT)?,
        active: number(destination::ACTIVE).unwrap_or(0),
        inactive: number(destination::INACTIVE).unwrap_or(0),
    })
}

/// All time-outs.
pub(super) fn timeouts(message: &Message<'_>) -> Timeouts {
    let fields = message.attributes(GENERIC_HEADER_LEN);
    let duration = |kind| {
        let seconds = fields.find_kind(kind).and_then(|field| field.as_u32()).unwrap_or(0);
        Duration::from_secs(seconds.into())
    };
    Timeouts {
        tcp: duration(command::TIMEOUT_TCP),
        tcp_fin: duration(command::TIMEOUT_TCP_FIN),
        udp: duration(command::TIMEOUT_UDP),
    }
}

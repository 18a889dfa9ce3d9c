//! Messages about sets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portolan_core::IpFamily;
use portolan_netlink::{Attribute, Message, MessageWriter};

use crate::netfilter::{HEADER_LEN, header};

/// `NFNL_SUBSYS_IPSET`, linux/netfilter/nfnetlink.h.
const SUBSYSTEM: u16 = 6;
/// `IPSET_CMD_DESTROY` and `IPSET_CMD_LIST`.
pub(super) const DESTROY: u16 = SUBSYSTEM << 8 | 3;
pub(super) const LIST: u16 = SUBSYSTEM << 8 | 7;

/// `IPSET_ERR_BUSY`: what is said of a set that is to be destroyed while something refers to it. Private to
/// ipset, like all error numbers from 4096 (`IPSET_ERR_PRIVATE`) on.
pub(super) const REFERENCED: i32 = 4096 + 4;

/// `IPSET_PROTOCOL_MIN`: what all kernels speak that have sets.
const PROTOCOL_VERSION: u8 = 6;
/// `IPSET_FLAG_LIST_SETNAME`
const NAMES_ONLY: u32 = 1 << 1;

/// `IPSET_ATTR_*` of commands.
mod command {
    pub(super) const PROTOCOL: u16 = 1;
    pub(super) const NAME: u16 = 2;
    pub(super) const FLAGS: u16 = 6;
    pub(super) const DATA: u16 = 7;
    pub(super) const ENTRIES: u16 = 8;
}

/// `IPSET_ATTR_*` of entries.
mod entry {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const PORT: u16 = 4;
    /// `IPSET_ATTR_IPADDR_IPV4` and `IPSET_ATTR_IPADDR_IPV6`
    pub(super) const IPV4: u16 = 1;
    pub(super) const IPV6: u16 = 2;
}

/// Writes a command for one set.
pub(super) fn write_name(request: &mut MessageWriter<'_>, family: IpFamily, name: &str) {
    request.bytes(&header(family));
    request.attribute(command::PROTOCOL, &[PROTOCOL_VERSION]).text(command::NAME, name);
}

/// Writes a request for all sets, without their entries.
pub(super) fn write_names_only(request: &mut MessageWriter<'_>) {
    request.bytes(&[0; HEADER_LEN]).attribute(command::PROTOCOL, &[PROTOCOL_VERSION]);
    request.attribute(command::FLAGS, &NAMES_ONLY.to_be_bytes());
}

/// The name of the set that a message lists.
pub(super) fn set_name(message: &Message<'_>) -> Option<String> {
    let name = message.attributes(HEADER_LEN).find_kind(command::NAME)?;
    name.as_str().map(str::to_owned)
}

/// What of an entry tells node ports.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The address, in sets that have some.
    pub(super) address: Option<IpAddr>,
    /// The port.
    pub(super) port: u16,
}

/// The entries that a message lists, as far as they have ports.
pub(super) fn entries(message: &Message<'_>) -> Vec<Entry> {
    let list = message.attributes(HEADER_LEN).find_kind(command::ENTRIES);
    let entries = list.into_iter().flat_map(|list| list.nested());
    entries.filter(|data| data.kind == command::DATA).filter_map(|data| entry(&data)).collect()
}

fn entry(data: &Attribute<'_>) -> Option<Entry> {
    let fields = data.nested();
    let port = fields.find_kind(entry::PORT)?.value.try_into().ok().map(u16::from_be_bytes)?;
    let address = fields.find_kind(entry::ADDRESS).and_then(|address| {
        let address = address.nested().next()?;
        match address.kind {
            entry::IPV4 => <[u8; 4]>::try_from(address.value).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
            entry::IPV6 => <[u8; 16]>::try_from(address.value).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
            _ => None,
        }
    });
    Some(Entry { address, port })
}

#[cfg(test)]
mod tests;

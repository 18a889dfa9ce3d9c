//! Messages about interfaces and addresses.
//!
//! Numbers are from linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h, in the host's order.

use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter};

use super::{Address, Link};
use crate::address;

/// `RTM_*`
pub(super) const NEW_LINK: u16 = 16;
pub(super) const DELETE_LINK: u16 = 17;
pub(super) const GET_LINK: u16 = 18;
pub(super) const NEW_ADDRESS: u16 = 20;
pub(super) const DELETE_ADDRESS: u16 = 21;
pub(super) const GET_ADDRESS: u16 = 22;

/// The length of `struct ifinfomsg`; the interface's number is at 4.
const LINK_HEADER: usize = 16;
/// The length of `struct ifaddrmsg`: family, length of the prefix, flags, scope; the interface's number is at 4.
const ADDRESS_HEADER: usize = 8;

/// `IFLA_IFNAME`, `IFLA_LINKINFO` and, inside that, `IFLA_INFO_KIND`.
const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// `IFA_ADDRESS` and `IFA_LOCAL`; the latter, where there is one, is the interface's own.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `IFA_FLAGS`, and of those `IFA_F_NODAD`: nobody else on a dummy device could have the address.
const FLAGS: u16 = 8;
const WITHOUT_DETECTION: u32 = 0x02;
/// `RT_SCOPE_LINK`: addresses the kernel gives an interface by itself.
pub(super) const SCOPE_LINK: u8 = 253;

pub(super) fn write_link_name(request: &mut MessageWriter<'_>, name: &str) {
    request.bytes(&[0; LINK_HEADER]).text(LINK_NAME, name);
}

pub(super) fn write_new_link(request: &mut MessageWriter<'_>, name: &str, kind: &str) {
    write_link_name(request, name);
    request.nest(LINK_INFO, |info| _ = info.text(INFO_KIND, kind));
}

pub(super) fn write_link_index(request: &mut MessageWriter<'_>, index: u32) {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    request.bytes(&header);
}

pub(super) fn write_address_header(request: &mut MessageWriter<'_>, family: u8, device: u32) {
    let mut header = [0; ADDRESS_HEADER];
    header[0] = family;
    header[4..8].copy_from_slice(&device.to_ne_bytes());
    request.bytes(&header);
}

/// Writes an address that stands for itself alone.
pub(super) fn write_address(request: &mut MessageWriter<'_>, device: u32, ip: IpAddr) {
    let family = IpFamily::of(ip);
    let mut header = [0; ADDRESS_HEADER];
    header[0] = address::number(family);
    header[1] = address::bits(family);
    header[4..8].copy_from_slice(&device.to_ne_bytes());
    request.bytes(&header);
    address::with_bytes(ip, |bytes| _ = request.attribute(LOCAL, bytes).attribute(ADDRESS, bytes));
    if family == IpFamily::V6 {
        request.attribute(FLAGS, &WITHOUT_DETECTION.to_ne_bytes());
    }
}

fn number(header: &[u8], at: usize) -> Option<u32> {
    header.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

pub(super) fn link(message: &Message<'_>) -> Option<Link> {
    let info = message.attributes(LINK_HEADER).find_kind(LINK_INFO);
    let kind = info.and_then(|info| info.nested().find_kind(INFO_KIND)?.as_str().map(str::to_owned));
    Some(Link { index: number(message.payload, 4)?, kind })
}

pub(super) fn interface_address(message: &Message<'_>, family: IpFamily) -> Option<Address> {
    let attributes = message.attributes(ADDRESS_HEADER);
    let value = attributes.find_kind(LOCAL).or_else(|| attributes.find_kind(ADDRESS))?.value;
    let (device, scope) = (number(message.payload, 4)?, *message.payload.get(3)?);
    Some(Address { device, ip: address::read(value, family)?, scope })
}

//! Interfaces.

use super::number;
use crate::{Message, MessageWriter};

/// The length of `struct ifinfomsg`; the interface's number is at 4.
const HEADER: usize = 16;

/// `IFLA_IFNAME`, `IFLA_LINKINFO` and, inside that, `IFLA_INFO_KIND`.
const NAME: u16 = 3;
const INFO: u16 = 18;
const INFO_KIND: u16 = 1;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name; every interface has one.
    pub name: Option<String>,
    /// What made it, such as `dummy`; nothing for hardware.
    pub kind: Option<String>,
}

/// Writes which interface is meant, by its number.
pub fn write_link(message: &mut MessageWriter<'_>, index: u32) {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    message.bytes(&header);
}

/// Writes which interface is meant, by its name.
pub fn write_link_name(message: &mut MessageWriter<'_>, name: &str) {
    message.bytes(&[0; HEADER]).text(NAME, name);
}

/// Writes an interface of this kind, which is down.
pub fn write_new_link(message: &mut MessageWriter<'_>, name: &str, kind: &str) {
    write_link_name(message, name);
    message.nest(INFO, |info| _ = info.text(INFO_KIND, kind));
}

/// Reads an interface.
pub fn read_link(message: &Message<'_>) -> Option<Link> {
    let attributes = message.attributes(HEADER);
    let text = |kind| attributes.find_kind(kind)?.as_str().map(str::to_owned);
    let made_by =
        |info: crate::Attribute<'_>| info.nested().find_kind(INFO_KIND)?.as_str().map(str::to_owned);
    Some(Link {
        index: number(message.payload, 4)?,
        name: text(NAME),
        kind: attributes.find_kind(INFO).and_then(made_by),
    })
}

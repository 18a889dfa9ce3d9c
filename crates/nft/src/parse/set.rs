//! Sets and maps as the kernel lists them.

use std::sync::Arc;
use std::time::Duration;

use portolan_netlink::Message;

use crate::encode::{concat_type, set_flags};
use crate::wire::{DATA_VERDICT, FAMILY_HEADER, set_flag};
use crate::{Set, SetData, SetTimeout, TableId, userdata};

/// A set without its elements.
#[derive(Debug)]
pub(crate) struct ParsedSet {
    pub(crate) name: Arc<str>,
    pub(crate) handle: u64,
    /// Whether elements are the bounds of ranges.
    pub(crate) ranges: bool,
    /// Whether rules add elements, whatever its shape.
    pub(crate) dynamic: bool,
    /// Its shape, if its notes hold it and agree with the kernel's attributes.
    pub(crate) set: Option<Set>,
}

/// The size of a dynamic set that was created without one (net/netfilter/nft_dynset.c); the kernel lists
/// it like an explicit size once a rule fills the set.
const DYNAMIC_SIZE: u32 = 65_535;

/// A set of `table`; nothing for sets of other tables. `NFTA_SET_*`
pub(crate) fn set(message: &Message<'_>, table: &TableId) -> Option<ParsedSet> {
    let attributes = message.attributes(FAMILY_HEADER);
    if super::family(message)? != table.family || attributes.find_kind(1)?.as_str()? != &*table.name {
        return None;
    }
    let number = |kind| attributes.find_kind(kind).and_then(|a| a.as_be32());
    let name: Arc<str> = attributes.find_kind(2)?.as_str()?.into();
    let flags = number(3).unwrap_or(0);
    let ranges = flags & (set_flag::INTERVAL | set_flag::CONCAT) == set_flag::INTERVAL;
    let dynamic = flags & set_flag::DYNAMIC != 0;
    let handle = attributes.find_kind(16).and_then(|a| a.as_be64()).unwrap_or_default();

    let shape = attributes.find_kind(13).and_then(|a| userdata::read_set(a.value, table.family));
    let shape = shape.and_then(|notes| {
        let data = match (flags & set_flag::MAP != 0, number(6), notes.data) {
            (false, None, None) => SetData::None,
            (true, Some(DATA_VERDICT), None) => SetData::Verdict,
            (true, Some(_), Some(data)) => SetData::Value(data),
            _ => return None,
        };
        let size = attributes.find_kind(9).and_then(|desc| desc.nested().find_kind(1)?.as_be32());
        let timeout = match attributes.find_kind(11).and_then(|a| a.as_be64()) {
            None | Some(0) if flags & set_flag::TIMEOUT == 0 => SetTimeout::None,
            None | Some(0) => SetTimeout::PerElement,
            Some(millis) => SetTimeout::Default(Duration::from_millis(millis)),
        };
        let set = Set {
            name: Arc::clone(&name),
            key: notes.key,
            data,
            interval: flags & set_flag::INTERVAL != 0,
            dynamic,
            timeout,
            size: size.filter(|size| !(dynamic && *size == DYNAMIC_SIZE)),
            comment: notes.comment,
        };
        agrees(&set, table, flags, &number).then_some(set)
    });
    Some(ParsedSet { name, handle, ranges, dynamic, set: shape })
}

/// Whether the kernel's attributes match the shape: the notes may be wrong.
fn agrees(set: &Set, table: &TableId, flags: u32, number: &impl Fn(u16) -> Option<u32>) -> bool {
    let length = |kind| number(kind).and_then(|length| usize::try_from(length).ok());
    let data = match &set.data {
        SetData::None | SetData::Verdict => true,
        SetData::Value(data) => {
            number(6) == Some(concat_type(data, table)) && length(7) == Some(set.data_len(table.family))
        }
    };
    data && set_flags(set) == flags
        && number(4) == Some(concat_type(&set.key, table))
        && length(5) == Some(set.key_len(table.family))
}

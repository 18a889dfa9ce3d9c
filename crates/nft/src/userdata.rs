//! User data: notes that nft keeps with an object, and the kernel stores unread.
//!
//! They hold comments and, for sets, the `typeof` that the kernel's plain types
//! cannot express. A set written with these bytes is listed by nft as if nft had
//! made it. The layout is that of libnftnl's `udata`: one byte of kind, one of
//! length, the value; `libnftnl/udata.h` and nft's `*_build_udata` functions
//! give the kinds. Numbers are in the host's order.

use crate::expr::{CtKey, FibAddress, MetaKey};
use crate::{COMMENT_MAX, Family, Selector, Set, SetData};

mod types;

/// `NFTNL_UDATA_TABLE_COMMENT`, `NFTNL_UDATA_RULE_COMMENT`, `NFTNL_UDATA_SET_ELEM_COMMENT`
const COMMENT: u8 = 0;
/// `NFTNL_UDATA_SET_ELEM_FLAGS`
const ELEMENT_FLAGS: u8 = 1;
/// `NFTNL_SET_ELEM_F_INTERVAL_OPEN`: the range has no end because it reaches the last key.
const ELEMENT_OPEN: u32 = 1;

/// `NFTNL_UDATA_SET_*`
mod set_note {
    pub(super) const KEY_BYTE_ORDER: u8 = 0;
    pub(super) const DATA_BYTE_ORDER: u8 = 1;
    pub(super) const KEY_TYPEOF: u8 = 3;
    pub(super) const DATA_TYPEOF: u8 = 4;
    pub(super) const DATA_INTERVAL: u8 = 6;
    pub(super) const COMMENT: u8 = 7;
}

/// nft's `enum byteorder`.
mod byte_order {
    pub(super) const NONE: u32 = 0;
    pub(super) const HOST: u32 = 1;
    pub(super) const NETWORK: u32 = 2;
}

/// Notes one after the other.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<u8>);

impl Notes {
    fn bytes(&mut self, kind: u8, value: &[u8]) -> &mut Self {
        // A note longer than its length can say would garble those after it; user data ends at 256
        // bytes anyway, so the writer of the object refuses what this one leaves whole.
        self.0.extend([kind, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
        self.0.extend_from_slice(value);
        self
    }

    fn number(&mut self, kind: u8, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    fn text(&mut self, kind: u8, text: &str) -> &mut Self {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.bytes(kind, &value)
    }

    fn nest(&mut self, kind: u8, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(kind, &inner.0)
    }
}

/// The notes of a table, rule or element with this comment.
pub(crate) fn with_comment(comment: &str) -> Vec<u8> {
    std::mem::take(&mut Notes::default().text(COMMENT, comment).0)
}

/// The notes of a range's first key when no end key follows.
pub(crate) fn open_interval(comment: Option<&str>) -> Vec<u8> {
    let mut notes = Notes::default();
    if let Some(comment) = comment {
        notes.text(COMMENT, comment);
    }
    notes.number(ELEMENT_FLAGS, ELEMENT_OPEN);
    notes.0
}

/// The notes of a set, in nft's order.
pub(crate) fn of_set(set: &Set, family: Family) -> Vec<u8> {
    let mut notes = Notes::default();
    notes.number(set_note::KEY_BYTE_ORDER, byte_order_of(&set.key));
    match &set.data {
        SetData::None => {}
        SetData::Verdict => drop(notes.number(set_note::DATA_BYTE_ORDER, byte_order::NONE)),
        SetData::Value(data) => drop(notes.number(set_note::DATA_BYTE_ORDER, byte_order_of(data))),
    }
    notes.nest(set_note::KEY_TYPEOF, |notes| types::write(notes, &set.key, family));
    match &set.data {
        SetData::None => {}
        SetData::Verdict => drop(notes.nest(set_note::DATA_TYPEOF, types::write_verdict)),
        SetData::Value(data) => {
            notes.nest(set_note::DATA_TYPEOF, |notes| types::write(notes, data, family));
        }
    }
    if set.data != SetData::None {
        notes.number(set_note::DATA_INTERVAL, 0);
    }
    if let Some(comment) = &set.comment {
        notes.text(set_note::COMMENT, comment);
    }
    notes.0
}

/// A concatenation has none; nft counts the protocol as the host's.
fn byte_order_of(selectors: &[Selector]) -> u32 {
    match selectors {
        [Selector::L4Proto] => byte_order::HOST,
        [only] if only.is_host_endian() => byte_order::HOST,
        [_] => byte_order::NETWORK,
        _ => byte_order::NONE,
    }
}

/// Whether a comment can be kept.
pub(crate) fn is_comment(comment: &str) -> bool {
    comment.len() <= COMMENT_MAX && !comment.contains(['\0', '"', '\n'])
}

/// Reads notes: kind and value, up to the first that is not whole.
pub(crate) fn read(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (&[kind, length], after) = rest.split_first_chunk()?;
        let (value, after) = after.split_at_checked(usize::from(length))?;
        rest = after;
        Some((kind, value))
    })
}

fn find(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    read(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn read_number(bytes: &[u8], kind: u8) -> Option<u32> {
    find(bytes, kind)?.try_into().ok().map(u32::from_ne_bytes)
}

fn read_text(bytes: &[u8], kind: u8) -> Option<&str> {
    let text = find(bytes, kind)?.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok()
}

/// The comment of a table, rule or element.
pub(crate) fn comment(bytes: &[u8]) -> Option<&str> {
    read_text(bytes, COMMENT)
}

/// What a set's notes say of it.
pub(crate) struct SetNotes {
    pub(crate) key: Vec<Selector>,
    /// None for verdicts and for plain sets.
    pub(crate) data: Option<Vec<Selector>>,
    pub(crate) comment: Option<String>,
}

/// Reads the notes of a set, if they hold a `typeof` this crate knows.
pub(crate) fn read_set(bytes: &[u8], family: Family) -> Option<SetNotes> {
    let key = types::read(find(bytes, set_note::KEY_TYPEOF)?, family)?;
    let data = find(bytes, set_note::DATA_TYPEOF);
    let data = match data {
        Some(data) if types::is_verdict(data) => None,
        Some(data) => Some(types::read(data, family)?),
        None => None,
    };
    let comment = read_text(bytes, set_note::COMMENT).map(str::to_owned);
    Some(SetNotes { key, data, comment })
}

#[cfg(test)]
mod tests;

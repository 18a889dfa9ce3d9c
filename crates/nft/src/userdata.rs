//! User data: notes that nft keeps with an object, and the kernel stores unread.
//!
//! They hold comments and, for sets, the `typeof` that the kernel's plain types
//! cannot express. A set written with these bytes is listed by nft as if nft had
//! made it. The layout is that of libnftnl's `udata`: one byte of kind, one of
//! length, the value; `libnftnl/udata.h` and nft's `*_build_udata` functions
//! give the kinds. Numbers are in the host's order.

use crate::selector::Source;
use crate::wire::{CT_ORIGINAL, FIB_RESULT_TYPE, NUMGEN_RANDOM};
use crate::{COMMENT_MAX, Family, Selector, Set, SetData};

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
        // A note whose length does not fit one byte would corrupt those after it; the writer of the object
        // rejects user data of more than 256 bytes anyway.
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
    notes.nest(set_note::KEY_TYPEOF, |notes| write_types(notes, &set.key, family));
    match &set.data {
        SetData::None => {}
        SetData::Verdict => drop(notes.nest(set_note::DATA_TYPEOF, write_verdict)),
        SetData::Value(data) => {
            notes.nest(set_note::DATA_TYPEOF, |notes| write_types(notes, data, family));
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

/// Whether nft accepts a comment.
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

/// The notes of a set.
pub(crate) struct SetNotes {
    pub(crate) key: Vec<Selector>,
    /// None for verdicts and for plain sets.
    pub(crate) data: Option<Vec<Selector>>,
    pub(crate) comment: Option<String>,
}

/// Reads the notes of a set, if they hold a `typeof` this crate knows.
pub(crate) fn read_set(bytes: &[u8], family: Family) -> Option<SetNotes> {
    let key = read_types(find(bytes, set_note::KEY_TYPEOF)?, family)?;
    let data = find(bytes, set_note::DATA_TYPEOF);
    let data = match data {
        Some(data) if is_verdict(data) => None,
        Some(data) => Some(read_types(data, family)?),
        None => None,
    };
    let comment = read_text(bytes, set_note::COMMENT).map(str::to_owned);
    Some(SetNotes { key, data, comment })
}

// A set's `typeof`: which expression loads each component. The numbers are nft's own: `enum expr_types`
// (expression.h), `enum proto_desc_id` and the header field enums (proto.h).

/// `NFTNL_UDATA_SET_TYPEOF_EXPR` and `_DATA`.
const EXPRESSION: u8 = 0;
const DETAILS: u8 = 1;

/// nft's `enum expr_types`.
mod expression {
    pub(super) const VERDICT: u32 = 1;
    pub(super) const PAYLOAD: u32 = 7;
    pub(super) const META: u32 = 9;
    pub(super) const CT: u32 = 12;
    pub(super) const CONCAT: u32 = 13;
    pub(super) const NUMGEN: u32 = 23;
    pub(super) const FIB: u32 = 26;
}

/// nft's number for no direction.
const CT_NO_DIRECTION: u32 = u32::MAX;

fn write_types(notes: &mut Notes, selectors: &[Selector], family: Family) {
    match selectors {
        [only] => write_one(notes, *only, family),
        many => {
            notes.number(EXPRESSION, expression::CONCAT);
            notes.nest(DETAILS, |notes| {
                for (index, selector) in (0..).zip(many) {
                    notes.nest(index, |notes| write_one(notes, *selector, family));
                }
            });
        }
    }
}

fn write_verdict(notes: &mut Notes) {
    notes.number(EXPRESSION, expression::VERDICT).bytes(DETAILS, &[]);
}

fn is_verdict(bytes: &[u8]) -> bool {
    read_number(bytes, EXPRESSION) == Some(expression::VERDICT)
}

/// An expression and the numbers that define what it loads.
fn describe(selector: Selector, family: Family) -> (u32, [Option<u32>; 3]) {
    match selector.source(family) {
        Source::Payload { field: (header, field), .. } => {
            (expression::PAYLOAD, [Some(header), Some(field), None])
        }
        Source::Meta(key) => (expression::META, [Some(key), None, None]),
        Source::Ct { key, original } => {
            let direction = if original { CT_ORIGINAL.into() } else { CT_NO_DIRECTION };
            (expression::CT, [Some(key), Some(direction), None])
        }
        Source::FibType(address) => (expression::FIB, [Some(FIB_RESULT_TYPE), Some(address), None]),
        Source::Random { modulus } => (expression::NUMGEN, [Some(NUMGEN_RANDOM), Some(modulus), Some(0)]),
    }
}

fn write_one(notes: &mut Notes, selector: Selector, family: Family) {
    let (expression, details) = describe(selector, family);
    notes.number(EXPRESSION, expression);
    notes.nest(DETAILS, |notes| {
        for (kind, number) in (0..).zip(details) {
            if let Some(number) = number {
                notes.number(kind, number);
            }
        }
    });
}

fn read_types(bytes: &[u8], family: Family) -> Option<Vec<Selector>> {
    if read_number(bytes, EXPRESSION)? != expression::CONCAT {
        return Some(vec![read_one(bytes, family)?]);
    }
    let components = read(find(bytes, DETAILS)?);
    components.map(|(_, component)| read_one(component, family)).collect()
}

/// The selector whose notes these are.
fn read_one(bytes: &[u8], family: Family) -> Option<Selector> {
    let expression = read_number(bytes, EXPRESSION)?;
    let details = find(bytes, DETAILS)?;
    let details = [0, 1, 2].map(|kind| read_number(details, kind));
    let known = [
        Selector::Saddr,
        Selector::Daddr,
        Selector::L4Proto,
        Selector::ThSport,
        Selector::ThDport,
        Selector::NumgenRandom { modulus: details[1].unwrap_or_default() },
        Selector::Mark,
        Selector::Iifname,
        Selector::CtState,
        Selector::CtStatus,
        Selector::CtOriginalSaddr,
        Selector::CtOriginalDaddr,
        Selector::CtOriginalProtoDst,
        Selector::FibSaddrType,
        Selector::FibDaddrType,
    ];
    known.into_iter().find(|selector| describe(*selector, family) == (expression, details))
}

#[cfg(test)]
mod tests;

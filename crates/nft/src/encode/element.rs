//! Elements, written straight into the batch.
//!
//! One message carries as many as fit its attribute of at most 64 KiB.
//!
//! A range of single keys is two elements to the kernel: the first key, and the
//! key after the last with a flag that it ends the range. A range that reaches
//! the last key there is has no end, and a note says that this is meant. A
//! range of concatenated keys is one element with two keys.

use portolan_netlink::{MessageWriter, flag};

use super::{Origin, TOO_LONG, Writer};
use crate::libnftnl::Unwritable;
use crate::wire::{
    self, data, element as attribute, element_list as list, family_header, message, message_kind,
};
use crate::{
    Bytes, Element, ElementList, ElementValue, Family, NftError, Set, SetData, SetTimeout, TableId, Verdict,
    describe, userdata,
};

/// The bytes of elements after which a message is closed. One more element has at most some 600.
const MESSAGE: usize = 60_000;

/// Whether keys and values are written, or keys only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Whole,
    Key,
}

impl Writer<'_> {
    pub(super) fn elements(
        &mut self,
        operation: usize,
        kind: u8,
        flags: u16,
        set: &Set,
        elements: &ElementList,
    ) -> Result<(), NftError> {
        let content = if kind == message::NEW_ELEMENTS { Content::Whole } else { Content::Key };
        let table = self.table;
        let mut written = 0;
        let mut left = elements.iter().peekable();
        while left.peek().is_some() {
            let elements_before = written;
            let mut invalid = None;
            let fill = |message: &mut MessageWriter<'_>| {
                head(message, table, &set.name);
                message.nest(list::ELEMENTS, |message| {
                    while let Some(element) = left.next_if(|_| invalid.is_none() && message.len() < MESSAGE) {
                        match check(&element, set, table.family) {
                            Ok(()) => write(message, &element, set, content),
                            Err(reason) => invalid = Some((element, reason)),
                        }
                        written += 1;
                    }
                });
            };
            let added = self.encoded.batch.add(message_kind(kind), flag::REQUEST | flags, fill);
            if let Some((element, reason)) = invalid {
                return Err(super::invalid(describe::element(&element, set, table), reason));
            }
            added.map_err(|_too_long| super::invalid(format!("elements of {}", set.name), TOO_LONG))?;
            self.encoded.origins.push(Origin { operation, elements_before });
        }
        Ok(())
    }

    pub(super) fn flush_set(&mut self, operation: usize, set: &str) -> Result<(), Unwritable> {
        let kind = message_kind(message::DEL_ELEMENTS);
        let table = self.table;
        let added = self.encoded.batch.add(kind, flag::REQUEST, |message| head(message, table, set));
        added.map_err(|_too_long| TOO_LONG)?;
        self.encoded.origins.push(Origin { operation, elements_before: 0 });
        Ok(())
    }
}

fn head(message: &mut MessageWriter<'_>, table: &TableId, set: &str) {
    message.bytes(&family_header(table.family));
    message.text(list::TABLE, &table.name).text(list::SET, set);
}

/// How many elements the kernel gets for one of a set.
pub(crate) fn wire_count(element: &Element, set: &Set) -> usize {
    if ends(element, set).is_some() { 2 } else { 1 }
}

/// The key that ends a range of single keys; none for other sets and for ranges without end.
fn ends(element: &Element, set: &Set) -> Option<Bytes> {
    let last = element.key_end.as_deref().unwrap_or(&element.key);
    (set.interval && !set.is_concatenated()).then(|| last.successor()).flatten()
}

fn write(message: &mut MessageWriter<'_>, element: &Element, set: &Set, content: Content) {
    let single = set.interval && !set.is_concatenated();
    let end = ends(element, set);
    message.nest(list::ELEMENT, |message| {
        write_value(message, attribute::KEY, &element.key);
        if set.interval && set.is_concatenated() {
            let last = element.key_end.as_deref().unwrap_or(&element.key);
            write_value(message, attribute::KEY_END, last);
        }
        if content == Content::Whole {
            let open = single && end.is_none();
            write_rest(message, element, lifetime(set), open);
        }
    });
    if let Some(end) = end {
        message.nest(list::ELEMENT, |message| {
            write_value(message, attribute::KEY, &end);
            message.attribute(attribute::FLAGS, &attribute::INTERVAL_END.to_be_bytes());
        });
    }
}

/// The attribute that says how long an element lives. The kernel takes the time left only of a
/// time-out that it knows, and then it must not exceed it.
fn lifetime(set: &Set) -> u16 {
    match set.timeout {
        SetTimeout::PerElement => attribute::TIMEOUT,
        SetTimeout::None | SetTimeout::Default(_) => attribute::EXPIRATION,
    }
}

fn write_rest(message: &mut MessageWriter<'_>, element: &Element, lifetime: u16, open: bool) {
    match &element.value {
        ElementValue::None => {}
        ElementValue::Data(value) => write_value(message, attribute::DATA, value),
        ElementValue::Verdict(verdict) => {
            message.nest(attribute::DATA, |message| write_verdict(message, verdict));
        }
    }
    if let Some(expires) = element.expires {
        message.attribute(lifetime, &wire::millis(expires).to_be_bytes());
    }
    if open {
        let notes = userdata::open_interval(element.comment.as_deref());
        message.attribute(attribute::USERDATA, &notes);
    } else if let Some(comment) = &element.comment {
        message.attribute(attribute::USERDATA, &userdata::with_comment(comment));
    }
}

fn write_value(message: &mut MessageWriter<'_>, attribute: u16, value: &Bytes) {
    message.nest(attribute, |message| {
        message.attribute(data::VALUE, value);
    });
}

fn write_verdict(message: &mut MessageWriter<'_>, verdict: &Verdict) {
    message.nest(data::VERDICT, |message| {
        message.attribute(data::VERDICT_CODE, &verdict.code().to_be_bytes());
        if let Some(chain) = verdict.target() {
            message.text(data::VERDICT_CHAIN, chain);
        }
    });
}

fn check(element: &Element, set: &Set, family: Family) -> Result<(), Unwritable> {
    let length = set.key_len(family);
    if element.key.len() != length || element.key_end.as_ref().is_some_and(|end| end.len() != length) {
        return Err(Unwritable("its key has not the length of the set's"));
    }
    if element.key_end.is_some() && !set.interval {
        return Err(Unwritable("the set holds no ranges"));
    }
    let fits = match (&element.value, &set.data) {
        (ElementValue::None, _) | (ElementValue::Verdict(_), SetData::Verdict) => true,
        (ElementValue::Data(data), SetData::Value(_)) => data.len() == set.data_len(family),
        _ => false,
    };
    if !fits {
        return Err(Unwritable("its value is not what the set holds"));
    }
    if element.comment.as_deref().is_some_and(|comment| !userdata::is_comment(comment)) {
        return Err(Unwritable("its comment is too long, or has characters nft cannot print"));
    }
    Ok(())
}

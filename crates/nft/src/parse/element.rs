//! Elements as the kernel lists them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use portolan_netlink::{Attribute, HEADER_LEN, Message};

use crate::wire::{FAMILY_HEADER, data, element, element_list};
use crate::{Bytes, Element, ElementList, ElementValue, Verdict, userdata};

/// Collects the elements of one set over the messages of a dump.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    list: ElementList,
    /// Chain names met, so that elements that lead to one chain share its name.
    chains: HashSet<Arc<str>>,
    /// The bounds of ranges, which come as elements of their own and in no set order.
    bounds: Vec<Bound>,
    /// Elements that could not be read.
    pub(crate) unreadable: usize,
}

/// Where a range starts or, before its key, ends.
#[derive(Debug)]
struct Bound {
    key: Bytes,
    start: Option<Element>,
}

impl Elements {
    /// Takes the elements of one message. `ranges` says whether they are bounds of ranges.
    pub(crate) fn take(&mut self, message: &Message<'_>, ranges: bool) {
        let attributes = message.attributes(FAMILY_HEADER);
        let Some(elements) = attributes.find_kind(element_list::ELEMENTS) else { return };
        for attribute in elements.nested() {
            match self.read(&attribute) {
                Some((element, is_end)) if ranges => {
                    self.bounds.push(Bound { key: element.key, start: (!is_end).then_some(element) });
                }
                Some((element, _)) => self.list.push(&element),
                None => self.unreadable += 1,
            }
        }
    }

    /// All elements, ranges put together from their bounds.
    pub(crate) fn finish(mut self) -> ElementList {
        // Of two bounds at one key the end comes first: it belongs to the range before.
        self.bounds.sort_unstable_by_key(|bound| (bound.key, bound.start.is_some()));
        let mut open: Option<Element> = None;
        for bound in self.bounds {
            if let Some(start) = open.take() {
                self.list.push(&closed(start, bound.key.predecessor()));
            }
            open = bound.start;
        }
        if let Some(start) = open {
            let last = Bytes::from_slice(&[u8::MAX; Bytes::CAPACITY][..start.key.len()]);
            self.list.push(&closed(start, last));
        }
        self.list
    }

    fn read(&mut self, attribute: &Attribute<'_>) -> Option<(Element, bool)> {
        let mut read = Element::key(Bytes::new());
        let mut is_end = false;
        for field in attribute.nested() {
            match field.kind {
                element::KEY => read.key = value(&field)?,
                element::KEY_END => read.key_end = Some(Box::new(value(&field)?)),
                element::DATA => read.value = self.data(&field)?,
                element::FLAGS => is_end = field.as_be32()? & element::INTERVAL_END != 0,
                element::EXPIRATION => read.expires = Some(Duration::from_millis(field.as_be64()?)),
                element::USERDATA => read.comment = userdata::comment(field.value).map(Into::into),
                _ => {}
            }
        }
        // Elements of concatenated ranges always have both keys, even for a single one.
        if read.key_end.as_deref() == Some(&read.key) {
            read.key_end = None;
        }
        (!read.key.is_empty()).then_some((read, is_end))
    }

    fn data(&mut self, field: &Attribute<'_>) -> Option<ElementValue> {
        match field.nested().next()? {
            found if found.kind == data::VALUE => Bytes::from_slice(found.value).map(ElementValue::Data),
            found if found.kind == data::VERDICT => {
                verdict(&found, &mut |name| self.chain(name)).map(ElementValue::Verdict)
            }
            _ => None,
        }
    }

    fn chain(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.chains.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.chains.insert(Arc::clone(&new));
        new
    }
}

fn closed(start: Element, last: Option<Bytes>) -> Element {
    let key_end = last.filter(|last| *last != start.key).map(Box::new);
    Element { key_end, ..start }
}

fn value(field: &Attribute<'_>) -> Option<Bytes> {
    Bytes::from_slice(field.nested().find_kind(data::VALUE)?.value)
}

/// A verdict with its chain's name made by `name`.
pub(super) fn verdict(field: &Attribute<'_>, name: &mut dyn FnMut(&str) -> Arc<str>) -> Option<Verdict> {
    let fields = field.nested();
    let code = fields.find_kind(data::VERDICT_CODE)?.as_be32()?;
    let chain = match fields.find_kind(data::VERDICT_CHAIN) {
        Some(chain) => Some(name(chain.as_str()?)),
        None => None,
    };
    Verdict::from_code(code.cast_signed(), chain)
}

/// Which of a message's elements lies at `offset`, in bytes from the message's header.
pub(crate) fn position(message: &[u8], offset: usize) -> Option<usize> {
    let start = HEADER_LEN + FAMILY_HEADER;
    let (list, at) = attributes_at(message, start).find(|(found, _)| found.kind == element_list::ELEMENTS)?;
    let inner = attributes_at(message.get(..at + 4 + list.value.len())?, at + 4);
    inner.map(|(found, at)| at..at + 4 + found.value.len()).position(|range| range.contains(&offset))
}

/// Attributes with the place each starts at.
fn attributes_at(message: &[u8], start: usize) -> impl Iterator<Item = (Attribute<'_>, usize)> {
    let attributes = portolan_netlink::AttributeIter::new(message.get(start..).unwrap_or_default());
    attributes.scan(start, |at, attribute| {
        let here = *at;
        *at += (attribute.value.len() + 4).next_multiple_of(4);
        Some((attribute, here))
    })
}

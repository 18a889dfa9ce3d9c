//! Elements, as the kernel lists them and as they are sent to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use portolan_netlink::{Attribute, AttributeIter, HEADER_LEN, Message};

use crate::element::Ranges;
use crate::wire::{FAMILY_HEADER, data, element as kind, element_list};
use crate::{Bytes, Element, ElementIter, ElementList, ElementValue, Verdict, userdata};

/// Chain names met, so that elements that lead to one chain share its name.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChainNames(HashSet<Arc<str>>);

impl ChainNames {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// Collects the elements of one set over the messages of a dump.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    list: ElementList,
    chains: ChainNames,
    /// The bounds of ranges, which come as elements of their own and in no set order: each key,
    /// with the element of a range that starts there. A range ends before a key without one.
    bounds: Vec<(Bytes, Option<Element>)>,
    /// Elements that could not be read.
    pub(crate) unreadable: usize,
}

impl Elements {
    /// Takes the elements of one message. `ranges` says whether they are bounds of ranges.
    pub(crate) fn take(&mut self, message: &Message<'_>, ranges: bool) {
        let attributes = message.attributes(FAMILY_HEADER);
        let Some(elements) = attributes.find_kind(element_list::ELEMENTS) else { return };
        for attribute in elements.nested() {
            match element(&attribute, &mut self.chains) {
                Some(element) if ranges => {
                    self.bounds.push((element.key, (!is_end(&attribute)).then_some(element)));
                }
                Some(element) => self.list.push(&element),
                None => self.unreadable += 1,
            }
        }
    }

    /// All elements, ranges put together from their bounds.
    pub(crate) fn finish(mut self) -> ElementList {
        // Of two bounds at one key the end comes first: it belongs to the range before.
        self.bounds.sort_unstable_by_key(|(key, start)| (*key, start.is_some()));
        let mut open: Option<Element> = None;
        for (key, start) in self.bounds {
            if let Some(open) = open.take() {
                self.list.push(&range(open, Some(key)));
            }
            open = start;
        }
        if let Some(open) = open {
            self.list.push(&range(open, None));
        }
        self.list
    }
}

/// The range from an element's key up to before `end`, or to the last key there is.
pub(crate) fn range(start: Element, end: Option<Bytes>) -> Element {
    let last = match end {
        Some(end) => end.predecessor(),
        None => Bytes::from_slice(&[u8::MAX; Bytes::CAPACITY][..start.key.len()]),
    };
    Element { key_end: last.filter(|last| *last != start.key).map(Box::new), ..start }
}

/// Whether an element is the end of a range.
pub(crate) fn is_end(element: &Attribute<'_>) -> bool {
    let flags = element.nested().find_kind(kind::FLAGS).and_then(|flags| flags.as_be32());
    flags.is_some_and(|flags| flags & kind::INTERVAL_END != 0)
}

/// One element, without the end that another may have for it.
pub(crate) fn element(attribute: &Attribute<'_>, chains: &mut ChainNames) -> Option<Element> {
    let mut read = Element::key(Bytes::new());
    for field in attribute.nested() {
        match field.kind {
            kind::KEY => read.key = value(&field)?,
            kind::KEY_END => read.key_end = Some(Box::new(value(&field)?)),
            kind::DATA => read.value = element_value(&field, chains)?,
            // What is sent has one of these. What the kernel lists may have both, the time left last;
            // none at all is for ever.
            kind::TIMEOUT => read.expires = Some(time(&field)?).filter(|time| !time.is_zero()),
            kind::EXPIRATION => read.expires = Some(time(&field)?),
            kind::USERDATA => read.comment = userdata::comment(field.value).map(Into::into),
            _ => {}
        }
    }
    // Elements of concatenated ranges always have both keys, even for a single one.
    if read.key_end.as_deref() == Some(&read.key) {
        read.key_end = None;
    }
    (!read.key.is_empty()).then_some(read)
}

fn element_value(field: &Attribute<'_>, chains: &mut ChainNames) -> Option<ElementValue> {
    match field.nested().next()? {
        found if found.kind == data::VALUE => Bytes::from_slice(found.value).map(ElementValue::Data),
        found if found.kind == data::VERDICT => {
            verdict(&found, |name| chains.shared(name)).map(ElementValue::Verdict)
        }
        _ => None,
    }
}

fn time(field: &Attribute<'_>) -> Option<Duration> {
    field.as_be64().map(Duration::from_millis)
}

fn value(field: &Attribute<'_>) -> Option<Bytes> {
    Bytes::from_slice(field.nested().find_kind(data::VALUE)?.value)
}

/// A verdict with its chain's name made by `name`.
pub(crate) fn verdict(field: &Attribute<'_>, name: impl FnOnce(&str) -> Arc<str>) -> Option<Verdict> {
    let fields = field.nested();
    let code = fields.find_kind(data::VERDICT_CODE)?.as_be32()?;
    let chain = match fields.find_kind(data::VERDICT_CHAIN) {
        Some(chain) => Some(name(chain.as_str()?)),
        None => None,
    };
    Verdict::from_code(code.cast_signed(), chain)
}

/// The element of a message that lies at `offset`, in bytes from the message's header.
pub(crate) fn element_at(message: &[u8], offset: usize, ranges: Ranges) -> Option<Element> {
    let mut fields = AttributeIter::new(message.get(HEADER_LEN + FAMILY_HEADER..)?);
    let list = fields.find(|field| field.kind == element_list::ELEMENTS)?;
    let end = message.len() - fields.rest().len();
    if offset < end.checked_sub(list.value.len())? {
        return None;
    }
    let mut elements = ElementIter::new(list.value, ranges);
    loop {
        let element = elements.next()?;
        if offset < end - elements.rest().len() {
            return Some(element);
        }
    }
}

//! Many elements in little memory.
//!
//! A cluster may need half a million elements at once. As [`Element`]s they
//! would take some 200 bytes each; here an element takes its key, its value and
//! a few bytes more, all in one buffer. Verdicts are kept once per distinct
//! verdict, since all elements of one class share theirs.
//!
//! One element is laid out as: tags, key, [key end], [value], [expires], [comment];
//! see [`Tags`]. Only this module and its child read or write that layout.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::{Bytes, Element, ElementValue, Verdict, wire};

mod distinct;

/// Elements in the order they were added.
#[derive(Clone, Default)]
pub struct ElementList {
    packed: Vec<u8>,
    verdicts: Vec<Verdict>,
    verdict_index: HashMap<Verdict, u32>,
    count: usize,
}

/// What follows the key.
struct Tags;

impl Tags {
    const KEY_END: u8 = 1;
    const DATA: u8 = 2;
    const VERDICT: u8 = 4;
    const EXPIRES: u8 = 8;
    const COMMENT: u8 = 16;
}

impl ElementList {
    /// No elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of memory the elements take, without what verdicts share.
    pub fn packed_len(&self) -> usize {
        self.packed.len()
    }

    /// The elements in order.
    pub fn iter(&self) -> ElementIter<'_> {
        ElementIter { rest: &self.packed, verdicts: &self.verdicts, left: self.count }
    }

    /// Appends an element.
    pub fn push(&mut self, element: &Element) {
        let mut tags = 0;
        let mut set = |tag, present| tags |= if present { tag } else { 0 };
        set(Tags::KEY_END, element.key_end.is_some());
        set(Tags::DATA, matches!(element.value, ElementValue::Data(_)));
        set(Tags::VERDICT, matches!(element.value, ElementValue::Verdict(_)));
        set(Tags::EXPIRES, element.expires.is_some());
        set(Tags::COMMENT, element.comment.is_some());
        self.packed.push(tags);
        self.push_short(&element.key);
        if let Some(end) = &element.key_end {
            self.push_short(end);
        }
        self.push_value(&element.value);
        if let Some(expires) = element.expires {
            self.packed.extend(wire::millis(expires).to_ne_bytes());
        }
        if let Some(comment) = &element.comment {
            let kept = cut_at_char(comment, u8::MAX.into());
            self.push_short(kept.as_bytes());
        }
        self.count += 1;
    }

    fn push_value(&mut self, value: &ElementValue) {
        match value {
            ElementValue::None => {}
            ElementValue::Data(data) => self.push_short(data),
            ElementValue::Verdict(verdict) => {
                let index = self.intern(verdict);
                self.packed.extend(index.to_ne_bytes());
            }
        }
    }

    fn push_short(&mut self, bytes: &[u8]) {
        // Keys, data and cut comments are all below 256 bytes.
        self.packed.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
        self.packed.extend_from_slice(bytes);
    }

    fn intern(&mut self, verdict: &Verdict) -> u32 {
        if let Some(index) = self.verdict_index.get(verdict) {
            return *index;
        }
        let index = u32::try_from(self.verdicts.len()).unwrap_or(u32::MAX);
        self.verdicts.push(verdict.clone());
        self.verdict_index.insert(verdict.clone(), index);
        index
    }
}

fn cut_at_char(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    &text[..end]
}

impl Extend<Element> for ElementList {
    fn extend<I: IntoIterator<Item = Element>>(&mut self, elements: I) {
        elements.into_iter().for_each(|element| self.push(&element));
    }
}

impl FromIterator<Element> for ElementList {
    fn from_iter<I: IntoIterator<Item = Element>>(elements: I) -> Self {
        let mut list = Self::new();
        list.extend(elements);
        list
    }
}

impl<'a> IntoIterator for &'a ElementList {
    type Item = Element;
    type IntoIter = ElementIter<'a>;

    fn into_iter(self) -> ElementIter<'a> {
        self.iter()
    }
}

impl PartialEq for ElementList {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other)
    }
}

impl Eq for ElementList {}

impl fmt::Debug for ElementList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Unpacks the elements of an [`ElementList`] one by one.
#[derive(Clone)]
pub struct ElementIter<'a> {
    rest: &'a [u8],
    verdicts: &'a [Verdict],
    left: usize,
}

impl ElementIter<'_> {
    fn short(&mut self) -> Option<&[u8]> {
        let (length, rest) = self.rest.split_first()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
        self.rest = rest;
        Some(bytes)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        Bytes::from_slice(self.short()?)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn unpack(&mut self) -> Option<Element> {
        let [tags] = self.fixed()?;
        let mut element = Element::key(self.bytes()?);
        if tags & Tags::KEY_END != 0 {
            element.key_end = Some(Box::new(self.bytes()?));
        }
        if tags & Tags::DATA != 0 {
            element.value = ElementValue::Data(self.bytes()?);
        }
        if tags & Tags::VERDICT != 0 {
            let index = usize::try_from(u32::from_ne_bytes(self.fixed()?)).ok()?;
            element.value = ElementValue::Verdict(self.verdicts.get(index)?.clone());
        }
        if tags & Tags::EXPIRES != 0 {
            element.expires = Some(Duration::from_millis(u64::from_ne_bytes(self.fixed()?)));
        }
        if tags & Tags::COMMENT != 0 {
            element.comment = Some(std::str::from_utf8(self.short()?).ok()?.into());
        }
        Some(element)
    }
}

impl Iterator for ElementIter<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        self.left = self.left.checked_sub(1)?;
        self.unpack()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ElementIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Element> {
        let key = Bytes::addr([10, 0, 0, 1].into());
        vec![
            Element::key(key),
            Element::data(key, Bytes::port(80)),
            Element::verdict(key, Verdict::Goto("cluster-2".into())),
            Element::verdict(key, Verdict::Drop).with_comment("ns/name:port"),
            Element::range(key, Bytes::addr([10, 0, 0, 9].into())),
            Element { expires: Some(Duration::from_millis(1234)), ..Element::key(key) },
        ]
    }

    #[test]
    fn elements_come_out_as_they_went_in() {
        let list: ElementList = samples().into_iter().collect();
        assert_eq!(list.len(), 6);
        assert_eq!(list.iter().collect::<Vec<_>>(), samples());
    }

    #[test]
    fn a_usual_map_element_takes_little_more_than_its_key_and_data() {
        let mut list = ElementList::new();
        let (mut key, mut data) = (Bytes::new(), Bytes::new());
        key.push_addr([10, 96, 0, 1].into()).push_proto(6).push_port(80).push_u32_host(0);
        data.push_addr([10, 244, 0, 1].into()).push_port(8080);
        list.push(&Element::data(key, data));
        assert_eq!(list.packed_len(), 16 + 8 + 3);
    }

    #[test]
    fn lists_are_equal_when_their_elements_are_even_if_verdicts_were_met_in_another_order() {
        let key = Bytes::port(1);
        let pair = [Element::verdict(key, Verdict::Drop), Element::verdict(key, Verdict::Accept)];
        let straight: ElementList = pair.iter().cloned().collect();
        let mut crossed = ElementList::new();
        crossed.intern(&Verdict::Accept);
        crossed.extend(pair);
        assert_eq!(straight, crossed);
    }
}

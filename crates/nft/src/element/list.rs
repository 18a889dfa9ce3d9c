//! Many elements, written once: as the attributes (`NFTA_LIST_ELEM`) that netlink carries.
//!
//! A cluster may need half a million elements at once. As [`Element`]s they would take some 200
//! bytes each; here they take what is sent for them, all in one buffer, and a transaction copies
//! that into its messages. Reading takes the parser that reads the kernel's lists.
//!
//! A range of single keys is two elements to the kernel: the first key, and the key after the last
//! with a flag that it ends the range. A range that reaches the last key there is has no end, and
//! a note says that this is meant. A range of concatenated keys is one element with two keys.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use portolan_netlink::{AttributeIter, MessageWriter};

use crate::parse::{ChainNames, element as parse};
use crate::wire::{self, data, element as attribute, element_list};
use crate::{Bytes, Element, ElementValue, Set, SetTimeout, Verdict, userdata};

/// What an element of IPv6 without a comment takes, in bytes.
const USUAL: usize = 96;

/// How the elements of a set hold ranges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// Not at all, or, in a list that belongs to no set, each as one element with two keys.
    #[default]
    None,
    /// As two elements, the first key and the end.
    Ends,
    /// Each element has two keys.
    Keys,
}

impl Ranges {
    pub(crate) fn of(set: &Set) -> Self {
        match (set.interval, set.is_concatenated()) {
            (false, _) => Self::None,
            (true, false) => Self::Ends,
            (true, true) => Self::Keys,
        }
    }
}

/// Elements in the order they were added.
#[derive(Clone)]
pub struct ElementList {
    bytes: Vec<u8>,
    count: usize,
    ranges: Ranges,
    /// The attribute that holds how long an element lives. The kernel takes the time left only of
    /// a time-out that it knows, and then it must not exceed it.
    lifetime: u16,
    /// Whether keys alone are written, which is all that deleting takes.
    keys_only: bool,
}

impl ElementList {
    /// No elements, of no set.
    pub const fn new() -> Self {
        let (ranges, lifetime) = (Ranges::None, attribute::EXPIRATION);
        Self { bytes: Vec::new(), count: 0, ranges, lifetime, keys_only: false }
    }

    /// No elements yet, to be added to `set`.
    pub(crate) fn of(set: &Set) -> Self {
        let lifetime = match set.timeout {
            SetTimeout::PerElement => attribute::TIMEOUT,
            SetTimeout::None | SetTimeout::Default(_) => attribute::EXPIRATION,
        };
        Self { ranges: Ranges::of(set), lifetime, ..Self::new() }
    }

    /// No elements yet, to be deleted from `set`: only keys are kept.
    pub(crate) fn keys_of(set: &Set) -> Self {
        Self { keys_only: true, ..Self::of(set) }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> ElementIter<'_> {
        ElementIter::new(&self.bytes, self.ranges)
    }

    /// Each element as it is sent.
    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries { rest: AttributeIter::new(&self.bytes), ranges: self.ranges }
    }

    /// Appends an element.
    pub fn push(&mut self, element: &Element) {
        let (ranges, lifetime, keys_only) = (self.ranges, self.lifetime, self.keys_only);
        let last = element.key_end.as_deref().unwrap_or(&element.key);
        let end = (ranges == Ranges::Ends).then(|| last.successor()).flatten();
        let has_no_end = ranges == Ranges::Ends && end.is_none();
        self.bytes.reserve(USUAL);
        let written = MessageWriter::attributes(&mut self.bytes, |list| {
            list.nest(element_list::ELEMENT, |fields| {
                write_value(fields, attribute::KEY, &element.key);
                if ranges == Ranges::Keys || (ranges == Ranges::None && element.key_end.is_some()) {
                    write_value(fields, attribute::KEY_END, last);
                }
                if !keys_only {
                    write_rest(fields, element, lifetime, has_no_end);
                }
            });
            if let Some(end) = &end {
                list.nest(element_list::ELEMENT, |fields| {
                    write_value(fields, attribute::KEY, end);
                    fields.attribute(attribute::FLAGS, &attribute::INTERVAL_END.to_be_bytes());
                });
            }
        });
        // An element has some 600 bytes at most: a name and a comment are shorter than 256.
        debug_assert!(written.is_ok());
        self.count += usize::from(written.is_ok());
    }

    /// Whether two elements have the same key, or range.
    pub(crate) fn has_doubles(&self) -> bool {
        let mut seen = HashSet::with_capacity(self.count);
        !self.entries().all(|entry| seen.insert(key_of(entry)))
    }

    /// One element for each key, or range: the one that was added last. Sorted by key.
    pub(crate) fn distinct(self) -> Self {
        let last: BTreeMap<&[u8], &[u8]> = self.entries().map(|entry| (key_of(entry), entry)).collect();
        let (count, bytes) = (last.len(), last.into_values().flatten().copied().collect());
        Self { bytes, count, ..self }
    }
}

fn write_rest(fields: &mut MessageWriter<'_>, element: &Element, lifetime: u16, has_no_end: bool) {
    match &element.value {
        ElementValue::None => {}
        ElementValue::Data(value) => write_value(fields, attribute::DATA, value),
        ElementValue::Verdict(verdict) => {
            fields.nest(attribute::DATA, |fields| write_verdict(fields, verdict));
        }
    }
    if let Some(expires) = element.expires {
        fields.attribute(lifetime, &wire::millis(expires).to_be_bytes());
    }
    if has_no_end {
        fields.attribute(attribute::USERDATA, &userdata::open_interval(element.comment.as_deref()));
    } else if let Some(comment) = &element.comment {
        fields.attribute(attribute::USERDATA, &userdata::with_comment(comment));
    }
}

fn write_value(fields: &mut MessageWriter<'_>, kind: u16, value: &Bytes) {
    fields.nest(kind, |fields| _ = fields.attribute(data::VALUE, value));
}

fn write_verdict(fields: &mut MessageWriter<'_>, verdict: &Verdict) {
    fields.nest(data::VERDICT, |fields| {
        fields.attribute(data::VERDICT_CODE, &verdict.code().to_be_bytes());
        if let Some(chain) = verdict.target() {
            fields.text(data::VERDICT_CHAIN, chain);
        }
    });
}

/// The key of an element, and of a range the last one too, which come first in it.
fn key_of(entry: &[u8]) -> &[u8] {
    const HEADER: usize = 4;
    let content = entry.get(HEADER..).unwrap_or_default();
    let mut fields = AttributeIter::new(content);
    loop {
        let left = fields.rest().len();
        match fields.next() {
            Some(field) if [attribute::KEY, attribute::KEY_END].contains(&field.kind) => {}
            _ => return &content[..content.len() - left],
        }
    }
}

impl Default for ElementList {
    fn default() -> Self {
        Self::new()
    }
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

/// The bytes of each element: one attribute, or two if it is a range with an end.
#[derive(Clone)]
pub(crate) struct Entries<'a> {
    rest: AttributeIter<'a>,
    ranges: Ranges,
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let all = self.rest.rest();
        self.rest.next()?;
        if self.ranges == Ranges::Ends {
            let mut further = self.rest.clone();
            if further.next().is_some_and(|element| parse::is_end(&element)) {
                self.rest = further;
            }
        }
        all.get(..all.len() - self.rest.rest().len())
    }
}

/// Reads the elements of an [`ElementList`], or of a message, one by one.
#[derive(Clone)]
pub struct ElementIter<'a> {
    entries: Entries<'a>,
    chains: ChainNames,
}

impl<'a> ElementIter<'a> {
    pub(crate) fn new(bytes: &'a [u8], ranges: Ranges) -> Self {
        Self { entries: Entries { rest: AttributeIter::new(bytes), ranges }, chains: ChainNames::default() }
    }

    /// The bytes that are not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.entries.rest.rest()
    }
}

impl Iterator for ElementIter<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        let mut attributes = AttributeIter::new(self.entries.next()?);
        let element = parse::element(&attributes.next()?, &mut self.chains)?;
        if self.entries.ranges != Ranges::Ends {
            return Some(element);
        }
        let end = attributes.next().and_then(|end| parse::element(&end, &mut self.chains));
        Some(parse::range(element, end.map(|end| end.key)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(last: u8) -> Bytes {
        Bytes::addr([10, 0, 0, last].into())
    }

    fn samples() -> Vec<Element> {
        vec![
            Element::key(key(1)),
            Element::data(key(1), Bytes::port(80)),
            Element::verdict(key(1), Verdict::Goto("cluster-2".into())),
            Element::verdict(key(1), Verdict::Drop).with_comment("ns/name:port"),
            Element::range(key(1), key(9)),
            Element { expires: Some(Duration::from_millis(1234)), ..Element::key(key(1)) },
        ]
    }

    #[test]
    fn elements_come_out_as_they_went_in() {
        let list: ElementList = samples().into_iter().collect();
        assert_eq!(list.len(), 6);
        assert_eq!(list.iter().collect::<Vec<_>>(), samples());
    }

    #[test]
    fn lists_of_every_kind_of_set_read_back_as_written() {
        let single = Set::intervals("single", [crate::Selector::Daddr]);
        let pair = Set::intervals("pair", [crate::Selector::Saddr, crate::Selector::Daddr]);
        let own = Set::new("own", [crate::Selector::Daddr]).filled_by_rules(SetTimeout::PerElement, None);
        let both = |a, b| *Bytes::new().push(&key(a)).push(&key(b));
        let last = Bytes::addr([255; 4].into());
        let cases = [
            (
                single,
                vec![Element::range(key(1), key(3)), Element::key(key(4)), Element::range(key(5), last)],
            ),
            (pair, vec![Element::range(both(1, 1), both(2, 9)), Element::key(both(3, 3))]),
            (own, vec![Element { expires: Some(Duration::from_secs(9)), ..Element::key(key(1)) }]),
        ];
        for (set, elements) in cases {
            for mut list in [ElementList::of(&set), ElementList::keys_of(&set)] {
                let keys = |element: &Element| (element.key, element.key_end.clone());
                list.extend(elements.clone());
                assert_eq!(
                    list.iter().map(|e| keys(&e)).collect::<Vec<_>>(),
                    elements.iter().map(keys).collect::<Vec<_>>()
                );
                assert!(list.keys_only || list.iter().eq(elements.clone()), "{list:?}");
                assert_eq!(list.entries().count(), list.len());
            }
        }
    }

    #[test]
    fn a_usual_map_element_takes_what_is_sent_for_it() {
        let mut list = ElementList::new();
        let (mut key, mut data) = (Bytes::new(), Bytes::new());
        key.push_addr([10, 96, 0, 1].into()).push_proto(6).push_port(80).push_u32_host(0);
        data.push_addr([10, 244, 0, 1].into()).push_port(8080);
        list.push(&Element::data(key, data));
        // One attribute holds two, and each of these the one with the value.
        assert_eq!(list.bytes.len(), 16 + 8 + 5 * 4);
    }

    #[test]
    fn of_elements_met_twice_the_last_is_kept() {
        let timed = |last, seconds| Element {
            expires: Some(Duration::from_secs(seconds)),
            ..Element::data(key(last), key(100))
        };
        let other = Element::verdict(key(3), Verdict::Goto("chain".into())).with_comment("kept");
        let list: ElementList =
            [timed(2, 9), timed(1, 8), other.clone(), timed(2, 7), timed(2, 6)].into_iter().collect();
        assert!(list.has_doubles() && !list.clone().distinct().has_doubles());
        assert_eq!(list.distinct().iter().collect::<Vec<_>>(), [timed(1, 8), timed(2, 6), other]);
    }

    #[test]
    fn ranges_that_begin_alike_are_different() {
        let elements = [Element::key(key(1)), Element::range(key(1), key(2)), Element::range(key(1), key(3))];
        let list: ElementList = elements.iter().chain(&elements).cloned().collect();
        let mut kept: Vec<_> = list.distinct().iter().collect();
        kept.sort_by(|a, b| (&a.key, &a.key_end).cmp(&(&b.key, &b.key_end)));
        assert_eq!(kept, elements);
        assert!(ElementList::new().distinct().is_empty());
    }
}

//! A set in memory: insertion, deletion and look-up as the kernel does them.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_nft::{Bytes, DumpedSet, Element, ElementValue, Family, Set, SetData, SetTimeout};

/// A set or map with its elements.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeSet {
    set: Arc<Set>,
    family: Family,
    /// By key; ranges by their lowest.
    elements: BTreeMap<(Bytes, Option<Bytes>), Element>,
    /// How many elements lead to each chain.
    targets: BTreeMap<Arc<str>, usize>,
    /// How many elements have ranges before their last component.
    wide: usize,
}

impl FakeSet {
    pub(super) fn new(set: Arc<Set>, family: Family) -> Self {
        Self { set, family, elements: BTreeMap::new(), targets: BTreeMap::new(), wide: 0 }
    }

    /// Its shape.
    pub fn set(&self) -> &Arc<Set> {
        &self.set
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The elements by key.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.elements.values()
    }

    /// The element a packet with this key meets, ranges included.
    pub fn lookup(&self, key: &Bytes) -> Option<&Element> {
        if self.set.interval { self.meeting(&Element::key(*key)) } else { self.elements.get(&(*key, None)) }
    }

    /// The chains that elements lead to.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<str>> {
        self.targets.keys()
    }

    pub(super) fn is_target(&self, chain: &str) -> bool {
        self.targets.contains_key(chain)
    }

    /// Adds an element and says whether the set changed.
    pub(super) fn insert(&mut self, element: &Element) -> Result<bool, i32> {
        self.check(element)?;
        if let Some(present) = self.elements.get(&place(element)) {
            return if present.value == element.value { Ok(false) } else { Err(libc::EEXIST) };
        }
        // The kernel lets some through, see `Element::range`, but is no better off with them.
        if self.set.interval && self.meeting(element).is_some() {
            return Err(libc::EEXIST);
        }
        if self.set.size.is_some_and(|size| self.elements.len() >= size as usize) {
            return Err(libc::ENFILE);
        }
        self.put(element.clone());
        Ok(true)
    }

    pub(super) fn put(&mut self, element: Element) {
        if let Some(chain) = target(&element) {
            *self.targets.entry(Arc::clone(chain)).or_insert(0) += 1;
        }
        self.wide += usize::from(self.head(&element).is_none());
        self.elements.insert(place(&element), element);
    }

    /// Removes the element of the same key, or range.
    pub(super) fn remove(&mut self, element: &Element) -> Option<Element> {
        let removed = self.elements.remove(&place(element))?;
        self.wide -= usize::from(self.head(&removed).is_none());
        if let Some(chain) = target(&removed) {
            let left = self.targets.get_mut(chain).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 {
                self.targets.remove(chain);
            }
        }
        Some(removed)
    }

    pub(super) fn dump(&self) -> DumpedSet {
        DumpedSet {
            name: Arc::clone(&self.set.name),
            set: Some(Arc::clone(&self.set)),
            handle: 0,
            elements: self.elements.values().cloned().collect(),
        }
    }

    /// Lengths and kinds must be those of the set.
    fn check(&self, element: &Element) -> Result<(), i32> {
        let length = self.set.key_len(self.family);
        let keys = element.key.len() == length
            && element.key_end.as_ref().is_none_or(|end| {
                self.set.interval && end.len() == length && self.ordered(&element.key, end)
            });
        let value = match (&element.value, &self.set.data) {
            (ElementValue::None, SetData::None) | (ElementValue::Verdict(_), SetData::Verdict) => true,
            (ElementValue::Data(data), SetData::Value(_)) => data.len() == self.set.data_len(self.family),
            _ => false,
        };
        let time = element.expires.is_none() || self.set.timeout != SetTimeout::None;
        if !(keys && value && time) {
            return Err(libc::EINVAL);
        }
        match (self.set.timeout, element.expires) {
            (SetTimeout::Default(whole), Some(left)) if left > whole => Err(libc::ERANGE),
            _ => Ok(()),
        }
    }

    fn ordered(&self, first: &Bytes, last: &Bytes) -> bool {
        self.components(first).zip(self.components(last)).all(|(first, last)| first <= last)
    }

    /// An element that shares a key with this one.
    fn meeting(&self, element: &Element) -> Option<&Element> {
        let mut before = self.elements.range(..=(end(element), Some(max()))).rev().map(|(_, found)| found);
        let meets = |found: &&Element| self.overlap(found, element);
        match self.head(element) {
            // They do not meet each other, so of those that begin early enough the last ends last; and in the order
            // of their keys no other head lies between those of one.
            head if !self.set.is_concatenated() || (self.wide == 0 && head.is_some()) => {
                before.next().filter(meets)
            }
            _ => self.elements.values().find(meets),
        }
    }

    /// The components of a concatenated range before its last, when they are single values.
    fn head(&self, element: &Element) -> Option<Bytes> {
        let last = self.set.key.last().map_or(0, |last| last.len(self.family).next_multiple_of(4));
        let cut = |key: &Bytes| key.get(..key.len().checked_sub(last)?).and_then(Bytes::from_slice);
        let head = cut(&element.key)?;
        (cut(&end(element))? == head).then_some(head)
    }

    /// Whether some key lies in both; concatenations must meet in every component.
    fn overlap(&self, a: &Element, b: &Element) -> bool {
        let (a_end, b_end) = (end(a), end(b));
        let first = self.components(&a.key).zip(self.components(&b_end));
        let second = self.components(&b.key).zip(self.components(&a_end));
        first.chain(second).all(|(low, high)| low <= high)
    }

    fn components<'a>(&self, key: &'a Bytes) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let family = self.family;
        let lengths: Vec<usize> = self.set.key.iter().map(|s| s.len(family).next_multiple_of(4)).collect();
        let mut start = 0;
        lengths.into_iter().map(move |length| {
            let end = (start + length).min(key.len());
            let part = key.get(start..end).unwrap_or_default();
            start = end;
            part
        })
    }
}

/// Above every key that can be stored.
fn max() -> Bytes {
    Bytes::from_slice(&[u8::MAX; Bytes::CAPACITY]).unwrap_or_default()
}

fn place(element: &Element) -> (Bytes, Option<Bytes>) {
    // A range of one key and that key alone are the same element.
    let end = element.key_end.as_deref().filter(|end| **end != element.key);
    (element.key, end.copied())
}

fn end(element: &Element) -> Bytes {
    element.key_end.as_deref().copied().unwrap_or(element.key)
}

fn target(element: &Element) -> Option<&Arc<str>> {
    match &element.value {
        ElementValue::Verdict(verdict) => verdict.target(),
        ElementValue::None | ElementValue::Data(_) => None,
    }
}

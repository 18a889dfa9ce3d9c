//! Finds elements that were met twice, and takes them out.
//!
//! Both work on the packed bytes; half a million elements take a few megabytes besides.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use super::ElementList;

impl ElementList {
    /// Whether two elements have the same key, or range.
    pub(crate) fn has_doubles(&self) -> bool {
        let state = RandomState::new();
        let mut hashes: Vec<u64> =
            self.places().iter().map(|place| state.hash_one(self.key(place))).collect();
        hashes.sort_unstable();
        // Sorting numbers is far quicker than sorting keys; equal ones may still be an accident.
        hashes.windows(2).any(|pair| pair[0] == pair[1]) && self.clone().distinct().len() < self.len()
    }

    /// One element for each key, or range: the one that was added last. Sorted by key.
    pub(crate) fn distinct(self) -> Self {
        let mut places = self.places();
        places.sort_unstable_by(|a, b| self.compare(a, b).then(b.start.cmp(&a.start)));
        places.dedup_by(|later, kept| self.compare(later, kept) == Ordering::Equal);
        let mut packed = Vec::with_capacity(places.iter().map(Range::len).sum());
        for place in &places {
            packed.extend_from_slice(self.bytes(place));
        }
        Self { packed, count: places.len(), ..self }
    }

    /// Where each element lies.
    fn places(&self) -> Vec<Range<usize>> {
        let mut elements = self.iter();
        let mut places = Vec::with_capacity(self.len());
        let mut start = 0;
        while elements.next().is_some() {
            let end = self.packed.len() - elements.rest.len();
            places.push(start..end);
            start = end;
        }
        places
    }

    /// By key, then by the end of a range; elements of one set have keys of one length.
    fn compare(&self, a: &Range<usize>, b: &Range<usize>) -> Ordering {
        self.key(a).cmp(self.key(b))
    }

    /// The key with its length and, of a range, both keys.
    fn key(&self, place: &Range<usize>) -> &[u8] {
        let Some((tags, rest)) = self.bytes(place).split_first() else { return &[] };
        let keys = if tags & super::Tags::KEY_END != 0 { 2 } else { 1 };
        let length = rest.first().map_or(0, |length| (usize::from(*length) + 1) * keys);
        rest.get(..length).unwrap_or(rest)
    }

    fn bytes(&self, place: &Range<usize>) -> &[u8] {
        self.packed.get(place.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Bytes, Element, Verdict};

    #[test]
    fn of_elements_met_twice_the_last_is_kept() {
        let key = |last| Bytes::addr([10, 0, 0, last].into());
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
        let key = |last| Bytes::addr([10, 0, 0, last].into());
        let elements = [Element::key(key(1)), Element::range(key(1), key(2)), Element::range(key(1), key(3))];
        let list: ElementList = elements.iter().chain(&elements).cloned().collect();
        let mut kept: Vec<_> = list.distinct().iter().collect();
        kept.sort_by(|a, b| (&a.key, &a.key_end).cmp(&(&b.key, &b.key_end)));
        assert_eq!(kept, elements);
        assert!(ElementList::new().distinct().is_empty());
    }
}

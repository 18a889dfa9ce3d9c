//! Elements of sets and maps.

use std::time::Duration;

use crate::{Bytes, Verdict};

mod list;

pub use list::{ElementIter, ElementList};

/// What a key maps to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ElementValue {
    /// Nothing: an element of a plain set.
    None,
    /// A value: an element of a data map.
    Data(Bytes),
    /// A verdict: an element of a verdict map.
    Verdict(Verdict),
}

/// One element of a set or map.
///
/// Large numbers of them travel packed, as an [`ElementList`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Element {
    /// The key, or the lowest key of a range.
    pub key: Bytes,
    /// The highest key of a range, itself included; only in interval sets. For
    /// concatenated keys every component has its own range.
    pub key_end: Option<Box<Bytes>>,
    /// What the key maps to.
    pub value: ElementValue,
    /// How much longer the element lives; only in sets with a timeout. When adding, none means
    /// the set's whole timeout, and no more than that can be given unless elements have their own.
    pub expires: Option<Duration>,
    /// A remark for the reader of `nft list ruleset`; at most [`crate::COMMENT_MAX`] bytes.
    pub comment: Option<Box<str>>,
}

impl Element {
    /// An element of a plain set.
    pub const fn key(key: Bytes) -> Self {
        Self { key, key_end: None, value: ElementValue::None, expires: None, comment: None }
    }

    /// An element of a data map.
    pub fn data(key: Bytes, data: Bytes) -> Self {
        Self { value: ElementValue::Data(data), ..Self::key(key) }
    }

    /// An element of a verdict map.
    pub fn verdict(key: Bytes, verdict: Verdict) -> Self {
        Self { value: ElementValue::Verdict(verdict), ..Self::key(key) }
    }

    /// A range of keys, both ends included. A range of one key is that key.
    ///
    /// Ranges of one set must not overlap. The kernel refuses most that do, but takes one that
    /// shares an end with a range around it, and then holds neither as it was meant.
    pub fn range(first: Bytes, last: Bytes) -> Self {
        Self { key_end: (first != last).then(|| Box::new(last)), ..Self::key(first) }
    }

    /// All keys that share the first `bits` bits of `key`.
    pub fn prefix(key: Bytes, bits: usize) -> Self {
        let (first, last) = prefix_bounds(&key, bits);
        Self::range(first, last)
    }

    /// The same element with a comment.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<Box<str>>) -> Self {
        self.comment = Some(comment.into());
        self
    }
}

/// The lowest and highest value that share the first `bits` bits of `key`.
fn prefix_bounds(key: &Bytes, bits: usize) -> (Bytes, Bytes) {
    let bound = |fill: u8| {
        let mut bytes = [0; Bytes::CAPACITY];
        for (index, (to, from)) in bytes.iter_mut().zip(key.iter()).enumerate() {
            let kept = bits.saturating_sub(index * 8).min(8);
            let mask = u8::MAX.checked_shr(u32::try_from(kept).unwrap_or(8)).unwrap_or(0);
            *to = (from & !mask) | (fill & mask);
        }
        Bytes::from_slice(&bytes[..key.len()]).unwrap_or_default()
    };
    (bound(0), bound(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_exactly_the_addresses_that_share_its_bits() {
        let of = |bits| Element::prefix(Bytes::addr([172, 20, 3, 4].into()), bits);
        let range = |a: [u8; 4], b: [u8; 4]| Element::range(Bytes::addr(a.into()), Bytes::addr(b.into()));
        assert_eq!(of(12), range([172, 16, 0, 0], [172, 31, 255, 255]));
        assert_eq!(of(16), range([172, 20, 0, 0], [172, 20, 255, 255]));
        assert_eq!(of(32), range([172, 20, 3, 4], [172, 20, 3, 4]));
        assert_eq!(of(0), range([0; 4], [255; 4]));
    }
}

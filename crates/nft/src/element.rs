//! Elements of sets and maps.

use std::net::IpAddr;
use std::time::Duration;

use crate::bytes::prefix_mask;
use crate::{Bytes, Family, Set, TableId, Verdict};

mod list;

pub(crate) use list::Ranges;
pub use list::{ElementIter, ElementList};

/// The value of a key.
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
/// Large numbers of them are kept as an [`ElementList`].
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
    /// the set's default timeout, which is also the maximum unless elements have their own.
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
    /// Ranges of one set must not overlap. The kernel rejects most that do, but not all, and then
    /// stores neither correctly:
    ///
    /// * of single keys it accepts a range that shares an end with one around it;
    /// * of concatenated keys it accepts one around an existing range. It also deletes the range that
    ///   holds the *first* key of the one to delete, wherever that ends.
    pub fn range(first: Bytes, last: Bytes) -> Self {
        Self { key_end: (first != last).then(|| Box::new(last)), ..Self::key(first) }
    }

    /// All keys that share the first `bits` bits of `key`.
    pub fn prefix(key: Bytes, bits: usize) -> Self {
        let (first, last) = prefix_bounds(&key, bits);
        Self::range(first, last)
    }

    /// Keys that begin with `head`, the first components of a concatenation, and whose last
    /// component is an address that shares the first `bits` bits of `address`.
    ///
    /// More bits than the address has mean all of them.
    pub fn key_with_prefix(head: Bytes, address: IpAddr, bits: u8) -> Self {
        let (first, last) = prefix_bounds(&Bytes::addr(address), bits.into());
        let with = |address: Bytes| *head.clone().push(&address);
        Self::range(with(first), with(last))
    }

    /// What [`key_with_prefix`](Self::key_with_prefix) made the element from, in a table of `family`:
    /// the head, the lowest address, and the number of bits. Nothing for other ranges.
    pub fn split_prefix(&self, family: Family) -> Option<(Bytes, IpAddr, u8)> {
        let (head, first) = self.key.split_last_address(family)?;
        let (end_head, last) = self.key_end.as_deref().unwrap_or(&self.key).split_last_address(family)?;
        let bits = prefix_len(&Bytes::addr(first), &Bytes::addr(last))?;
        (head == end_head).then_some((head, first, u8::try_from(bits).ok()?))
    }

    /// The element as errors name it: `element 10.96.0.10 . udp . 53 of map ip portolan services`.
    pub fn describe(&self, set: &Set, table: &TableId) -> String {
        let key = self.display_key(set, table.family);
        format!("element {key} of {} {table} {}", set.noun(), set.name)
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
            let mask = prefix_mask(bits, index);
            *to = (from & mask) | (fill & !mask);
        }
        Bytes::from_slice(&bytes[..key.len()]).unwrap_or_default()
    };
    (bound(0), bound(u8::MAX))
}

/// The number of leading bits all values from `first` to `last` share, when they are all that do.
pub(crate) fn prefix_len(first: &[u8], last: &[u8]) -> Option<usize> {
    let bit =
        |bytes: &[u8], index: usize| bytes.get(index / 8).is_some_and(|b| b >> (7 - index % 8) & 1 == 1);
    let bits = first.len().min(last.len()) * 8;
    let common = (0..bits).take_while(|&i| bit(first, i) == bit(last, i)).count();
    (common..bits).all(|i| !bit(first, i) && bit(last, i)).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Bytes {
        *Bytes::new().push_addr([10, 96, 0, 1].into()).push_proto(6).push_port(80)
    }

    #[test]
    fn a_prefix_behind_a_head_comes_apart_as_it_was_put_together() {
        for (family, address, bits) in [
            (Family::Ip, "0.0.0.0", 0),
            (Family::Ip, "10.0.0.0", 8),
            (Family::Ip, "10.1.2.128", 25),
            (Family::Ip, "10.1.2.3", 32),
            (Family::Ip6, "fd00:0:8000::", 33),
            (Family::Ip6, "fd00::1", 128),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let element = Element::key_with_prefix(head(), address, bits);
            assert_eq!(element.split_prefix(family), Some((head(), address, bits)), "{address}/{bits}");
        }
    }

    #[test]
    fn what_is_below_the_prefix_is_cut_off_and_bits_beyond_the_address_are_not_there() {
        let host = |last| IpAddr::from([10, 1, 2, last]);
        let cut = Element::key_with_prefix(head(), host(77), 24);
        assert_eq!(cut, Element::key_with_prefix(head(), host(0), 24));
        assert_eq!(Element::key_with_prefix(head(), host(77), 200).split_prefix(Family::Ip).unwrap().2, 32);
    }

    #[test]
    fn ranges_that_are_no_prefix_do_not_come_apart() {
        let key = |port, last| *head().push_addr([10, 0, 0, last].into()).push_port(port);
        assert_eq!(Element::key(head()).split_prefix(Family::Ip6), None);
        let with = |last| *head().push_addr([10, 0, 0, last].into());
        assert_eq!(Element::range(with(1), with(2)).split_prefix(Family::Ip), None);
        assert_eq!(Element::range(key(1, 0), key(2, 255)).split_prefix(Family::Ip), None);
        let two_heads = Element::range(
            *head().push_port(1).push_addr([0; 4].into()),
            *head().push_port(2).push_addr([255; 4].into()),
        );
        assert_eq!(two_heads.split_prefix(Family::Ip), None);
    }

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

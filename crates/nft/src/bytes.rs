//! Short byte strings without a heap: keys, data and comparison values.
//!
//! Every value nf_tables compares or stores fits [`Bytes::CAPACITY`] bytes, so a
//! key is copied around like a number and half a million of them cost no
//! allocation.
//!
//! Two ways to fill one: the constructors (`Bytes::port`, …) give a value alone
//! at its natural length, the `push_*` methods append one component of a
//! concatenation, padded with zeros to a multiple of four bytes as the kernel's
//! 32-bit registers want it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::Deref;

use crate::Family;

/// Up to [`Bytes::CAPACITY`] bytes, stored inline.
///
/// A component that would not fit is left out; the value then fails the length
/// check of the set or expression it is meant for.
#[derive(Clone, Copy)]
pub struct Bytes {
    length: u8,
    data: [u8; Bytes::CAPACITY],
}

impl Bytes {
    /// The longest value nf_tables holds: `NFT_DATA_VALUE_MAXLEN`, linux/netfilter/nf_tables.h.
    pub const CAPACITY: usize = 64;
    /// The length of an interface name: `IFNAMSIZ`, linux/if.h.
    pub const IFNAME: usize = 16;

    /// No bytes.
    pub const fn new() -> Self {
        Self { length: 0, data: [0; Self::CAPACITY] }
    }

    /// A copy of `bytes`; none when they exceed [`Bytes::CAPACITY`].
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut new = Self::new();
        new.data.get_mut(..bytes.len())?.copy_from_slice(bytes);
        new.length = u8::try_from(bytes.len()).ok()?;
        Some(new)
    }

    /// An address alone: 4 or 16 bytes.
    pub fn addr(address: IpAddr) -> Self {
        *Self::new().push_addr(address)
    }

    /// A protocol number alone: one byte.
    pub fn proto(number: u8) -> Self {
        *Self::new().append(&[number])
    }

    /// A port alone: two bytes in network order.
    pub fn port(port: u16) -> Self {
        *Self::new().append(&port.to_be_bytes())
    }

    /// Four bytes in the host's order, which marks, flags and `numgen` results use.
    pub fn u32_host(number: u32) -> Self {
        *Self::new().push_u32_host(number)
    }

    /// An interface name, filled with zeros to [`Bytes::IFNAME`] bytes; longer names are cut.
    pub fn ifname(name: &str) -> Self {
        let mut bytes = Self::new();
        let kept = name.len().min(Self::IFNAME - 1);
        bytes.append(&name.as_bytes()[..kept]);
        bytes.length = 16;
        bytes
    }

    /// Appends an address: one or four registers.
    pub fn push_addr(&mut self, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(address) => self.push(&address.octets()),
            IpAddr::V6(address) => self.push(&address.octets()),
        }
    }

    /// Appends a protocol number as one register.
    pub fn push_proto(&mut self, number: u8) -> &mut Self {
        self.push(&[number])
    }

    /// Appends a port in network order as one register.
    pub fn push_port(&mut self, port: u16) -> &mut Self {
        self.push(&port.to_be_bytes())
    }

    /// Appends a number in the host's order as one register; `numgen` slots and marks are such.
    pub fn push_u32_host(&mut self, number: u32) -> &mut Self {
        self.push(&number.to_ne_bytes())
    }

    /// Appends one component of a concatenation, padded to a multiple of four bytes.
    pub fn push(&mut self, component: &[u8]) -> &mut Self {
        let padded = component.len().next_multiple_of(4);
        let start = usize::from(self.length);
        if start + padded <= Self::CAPACITY {
            self.append(component);
            self.length = u8::try_from(start + padded).unwrap_or(self.length);
        }
        self
    }

    /// The address at the end, of `family`'s length, and the bytes before it.
    pub(crate) fn split_last_address(&self, family: Family) -> Option<(Self, IpAddr)> {
        let (head, address) = self.split_at_checked(self.len().checked_sub(family.addr_len())?)?;
        let address = match family {
            Family::Ip => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
            Family::Ip6 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        };
        Some((Self::from_slice(head)?, address))
    }

    /// The bytes as a slice.
    pub fn as_slice(&self) -> &[u8] {
        &self.data[..usize::from(self.length)]
    }

    /// The value plus one; none when every bit is set.
    ///
    /// Counts as one big-endian number, which is how the kernel orders interval sets.
    #[must_use]
    pub fn successor(&self) -> Option<Self> {
        let mut next = *self;
        for byte in next.data[..usize::from(self.length)].iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(next);
            }
        }
        None
    }

    /// The value minus one; none when every bit is clear.
    #[must_use]
    pub fn predecessor(&self) -> Option<Self> {
        let mut next = *self;
        for byte in next.data[..usize::from(self.length)].iter_mut().rev() {
            *byte = byte.wrapping_sub(1);
            if *byte != u8::MAX {
                return Some(next);
            }
        }
        None
    }

    fn append(&mut self, bytes: &[u8]) -> &mut Self {
        let start = usize::from(self.length);
        if let Some(room) = self.data.get_mut(start..start + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length = u8::try_from(start + bytes.len()).unwrap_or(self.length);
        }
        self
    }
}

/// The byte at `index` of a mask of `bits` leading ones.
pub(crate) fn prefix_mask(bits: usize, index: usize) -> u8 {
    match bits.saturating_sub(index * 8) {
        0 => 0,
        kept @ 1..8 => u8::MAX << (8 - kept),
        _ => u8::MAX,
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:x}")
    }
}

impl fmt::LowerHex for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concatenation_pads_each_component_to_a_register() {
        let mut key = Bytes::new();
        key.push_addr([10, 96, 0, 10].into()).push_proto(17).push_port(53).push_u32_host(1);
        let mut wanted = vec![10, 96, 0, 10, 17, 0, 0, 0, 0, 53, 0, 0];
        wanted.extend(1_u32.to_ne_bytes());
        assert_eq!(key.as_slice(), wanted);
    }

    #[test]
    fn a_value_alone_keeps_its_natural_length() {
        assert_eq!(Bytes::port(53).as_slice(), [0, 53]);
        assert_eq!(Bytes::proto(6).as_slice(), [6]);
        assert_eq!(Bytes::ifname("eth0").as_slice(), b"eth0\0\0\0\0\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn an_interface_name_always_keeps_its_terminating_zero() {
        assert_eq!(Bytes::ifname("a-name-beyond-all-limits").as_slice(), b"a-name-beyond-a\0");
    }

    #[test]
    fn a_component_that_does_not_fit_is_left_out() {
        let mut key = Bytes::from_slice(&[1; 60]).unwrap();
        key.push_addr("::1".parse().unwrap());
        assert_eq!(key.len(), 60);
        assert_eq!(Bytes::from_slice(&[0; 65]), None);
    }

    #[test]
    fn successor_and_predecessor_carry_over_byte_borders() {
        let value = Bytes::addr([10, 0, 255, 255].into());
        let next = value.successor().unwrap();
        assert_eq!(next, Bytes::addr([10, 1, 0, 0].into()));
        assert_eq!(next.predecessor(), Some(value));
        assert_eq!(Bytes::addr([255; 4].into()).successor(), None);
        assert_eq!(Bytes::addr([0; 4].into()).predecessor(), None);
    }
}

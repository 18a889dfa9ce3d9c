//! Attributes: typed values that follow a message's protocol header.

use std::net::IpAddr;

/// One attribute as it lies in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its kind, without the two flag bits (`NLA_TYPE_MASK`, linux/netlink.h).
    pub kind: u16,
    /// Its value, without padding.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes this one holds.
    pub fn nested(&self) -> AttributeIter<'a> {
        AttributeIter::new(self.value)
    }

    /// The value as a text that ends in a zero, if it is one.
    pub fn as_str(&self) -> Option<&'a str> {
        let text = self.value.split(|byte| *byte == 0).next()?;
        std::str::from_utf8(text).ok()
    }

    /// The value as an address, whose length tells its family.
    pub fn as_ip(&self) -> Option<IpAddr> {
        let v4 = || <[u8; 4]>::try_from(self.value).ok().map(IpAddr::from);
        let v6 = || <[u8; 16]>::try_from(self.value).ok().map(IpAddr::from);
        v4().or_else(v6)
    }

    /// The value as one byte.
    pub fn as_u8(&self) -> Option<u8> {
        self.value.try_into().ok().map(|[byte]: [u8; 1]| byte)
    }

    /// The value as a number in the network's byte order, which netfilter uses.
    pub fn as_be32(&self) -> Option<u32> {
        self.value.try_into().ok().map(u32::from_be_bytes)
    }

    /// The value as a long number in the network's byte order.
    pub fn as_be64(&self) -> Option<u64> {
        self.value.try_into().ok().map(u64::from_be_bytes)
    }

    /// The value as a number in the host's byte order, which most other protocols use.
    pub fn as_u32(&self) -> Option<u32> {
        self.value.try_into().ok().map(u32::from_ne_bytes)
    }
}

/// The attributes of a byte string, up to the first that is not whole.
#[derive(Debug, Clone)]
pub struct AttributeIter<'a> {
    rest: &'a [u8],
}

impl<'a> AttributeIter<'a> {
    /// Reads `bytes` from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that are not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The first attribute of a kind.
    pub fn find_kind(&self, kind: u16) -> Option<Attribute<'a>> {
        self.clone().find(|attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        const NLA_TYPE_MASK: u16 = 0x3fff;
        const HEADER: usize = 4;
        let [l0, l1, k0, k1] = *self.rest.first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let kind = u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK;
        let value = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

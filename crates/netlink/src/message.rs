//! Messages: their sixteen-byte header, reading and writing.
//!
//! Reading never trusts a length: a message or attribute that claims more bytes
//! than there are ends the iteration. Numbers in headers are in the host's order.

use crate::AttributeIter;

/// The length of `struct nlmsghdr`, linux/netlink.h.
pub const HEADER_LEN: usize = 16;

/// Message kinds every netlink protocol shares (linux/netlink.h).
pub(crate) mod kind {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    /// Kinds from here on belong to the protocol: `NLMSG_MIN_TYPE`.
    pub(crate) const FIRST_OWN: u16 = 16;
}

/// Flags of a message (linux/netlink.h).
pub mod flag {
    /// A request to the kernel: `NLM_F_REQUEST`.
    pub const REQUEST: u16 = 0x1;
    /// Requests an acknowledgement: `NLM_F_ACK`.
    pub const ACK: u16 = 0x4;
    /// The dump this message is part of was interrupted: `NLM_F_DUMP_INTR`.
    pub const DUMP_INTR: u16 = 0x10;
    /// Requests all objects: `NLM_F_DUMP`.
    pub const DUMP: u16 = 0x300;
    /// Fails when the object exists: `NLM_F_EXCL`.
    pub const EXCL: u16 = 0x200;
    /// Creates the object if it does not exist: `NLM_F_CREATE`.
    pub const CREATE: u16 = 0x400;
    /// Replaces an object that exists: `NLM_F_REPLACE`.
    pub const REPLACE: u16 = 0x100;
    /// Puts the object after those present: `NLM_F_APPEND`.
    pub const APPEND: u16 = 0x800;
    /// An answer repeats only the header of the message it is about: `NLM_F_CAPPED`.
    pub const CAPPED: u16 = 0x100;
    /// An answer carries attributes: `NLM_F_ACK_TLVS`.
    pub const ACK_TLVS: u16 = 0x200;
}

/// A message as it lies in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// `nlmsg_seq`: which request it answers.
    pub sequence: u32,
    /// `nlmsg_pid`: the port of the socket that it is for, or that caused it.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes after a protocol header of `header` bytes; none when it is not all there.
    pub fn attributes(&self, header: usize) -> AttributeIter<'a> {
        AttributeIter::new(self.payload.get(header.next_multiple_of(4)..).unwrap_or_default())
    }
}

/// The messages of a buffer, up to the first that is not whole.
#[derive(Debug, Clone)]
pub struct MessageIter<'a> {
    rest: &'a [u8],
}

impl<'a> MessageIter<'a> {
    /// Reads `bytes` from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for MessageIter<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.rest.first_chunk::<HEADER_LEN>()?;
        let length = usize::try_from(u32_at(header, 0)).ok()?;
        let message = Message {
            kind: u16_at(header, 4),
            flags: u16_at(header, 6),
            sequence: u32_at(header, 8),
            port: u32_at(header, 12),
            payload: self.rest.get(HEADER_LEN..length)?,
        };
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

pub(crate) fn u16_at(bytes: &[u8; HEADER_LEN], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A message or attribute is longer than its length field can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("netlink message or attribute is too long")]
pub struct TooLong;

/// Writes one message at the end of a buffer.
///
/// Attributes hold at most 65,531 bytes; a longer one makes
/// [`finish`](Self::finish) fail.
#[derive(Debug)]
pub struct MessageWriter<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    too_long: bool,
}

impl<'a> MessageWriter<'a> {
    /// Starts a message with its header; the kernel fills the sender's port in.
    pub fn new(buffer: &'a mut Vec<u8>, kind: u16, flags: u16, sequence: u32) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&kind.to_ne_bytes());
        buffer.extend_from_slice(&flags.to_ne_bytes());
        buffer.extend_from_slice(&sequence.to_ne_bytes());
        buffer.extend_from_slice(&[0; 4]);
        Self { buffer, start, too_long: false }
    }

    /// Appends attributes alone to `buffer`, to be sent later within a message.
    ///
    /// # Errors
    /// Some length does not fit its field; nothing is appended.
    pub fn attributes(
        buffer: &mut Vec<u8>,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Result<(), TooLong> {
        let start = buffer.len();
        let mut writer = MessageWriter { buffer, start, too_long: false };
        fill(&mut writer);
        if writer.too_long {
            writer.buffer.truncate(start);
            return Err(TooLong);
        }
        Ok(())
    }

    /// Appends bytes as they are, such as a protocol's own header, padded to four.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let at = self.open(kind);
        self.buffer.extend_from_slice(value);
        self.close(at);
        self
    }

    /// Appends an attribute that holds a text and a zero.
    pub fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let at = self.open(kind);
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(0);
        self.close(at);
        self
    }

    /// Appends an attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        const NLA_F_NESTED: u16 = 0x8000;
        let at = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(at);
        self
    }

    /// The length of the message so far, in bytes.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether nothing is written; false once there is a header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Completes the header.
    ///
    /// # Errors
    /// Some length does not fit its field; the message is removed from the buffer.
    pub fn finish(self) -> Result<(), TooLong> {
        let length = u32::try_from(self.len()).ok().filter(|_| !self.too_long);
        let Some(length) = length else {
            self.buffer.truncate(self.start);
            return Err(TooLong);
        };
        self.buffer[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
        Ok(())
    }

    fn open(&mut self, kind: u16) -> usize {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 2]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        at
    }

    fn close(&mut self, at: usize) {
        match u16::try_from(self.buffer.len() - at) {
            Ok(length) => self.buffer[at..at + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        self.pad();
    }

    fn pad(&mut self) {
        let padded = self.start + self.len().next_multiple_of(4);
        self.buffer.resize(padded, 0);
    }
}

#[cfg(test)]
mod tests;

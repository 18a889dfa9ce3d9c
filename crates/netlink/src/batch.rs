//! Many messages for one system call.
//!
//! A batch is built in pages, so that growing to tens of megabytes copies
//! nothing, and is sent in one `sendmsg` of all pages: to `nf_tables`, one call
//! is one transaction.
//!
//! Messages are numbered consecutively, so an answer leads back to its message without a table.

use crate::message::{MessageIter, MessageWriter, TooLong};

/// The capacity of a page. Large, because the kernel takes at most 1,024 pieces (`UIO_MAXIOV`).
const PAGE: usize = 1 << 20;
/// What a page must have free for one more message; attributes, and so most messages, end at 64 KiB.
const FREE: usize = 72 << 10;

/// Messages in order, numbered from the first's sequence number.
#[derive(Debug, Default)]
pub struct Batch {
    pages: Vec<Vec<u8>>,
    first: u32,
    count: u32,
}

impl Batch {
    /// No messages; the first will have the sequence number `first`.
    pub fn new(first: u32) -> Self {
        Self { pages: Vec::new(), first, count: 0 }
    }

    /// Appends a message and gives its sequence number.
    ///
    /// # Errors
    /// The message is too long; it is not appended.
    pub fn add(
        &mut self,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Result<u32, TooLong> {
        let sequence = self.first.wrapping_add(self.count);
        let mut writer = MessageWriter::new(self.page(), kind, flags, sequence);
        fill(&mut writer);
        writer.finish()?;
        self.count += 1;
        Ok(sequence)
    }

    /// Sets flags on a message of the batch.
    pub fn set_flags(&mut self, sequence: u32, flags: u16) {
        let Some((page, at)) = self.locate(sequence) else { return };
        // The flags are the two bytes after length and kind.
        if let Some(field) = self.pages.get_mut(page).and_then(|page| page.get_mut(at + 6..at + 8)) {
            let old = u16::from_ne_bytes([field[0], field[1]]);
            field.copy_from_slice(&(old | flags).to_ne_bytes());
        }
    }

    /// The sequence number of the first message.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The sequence number of the last message, or nothing when there is none.
    pub fn last(&self) -> Option<u32> {
        self.count.checked_sub(1).map(|index| self.first.wrapping_add(index))
    }

    /// The number of messages.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size of all messages, in bytes.
    pub fn size(&self) -> usize {
        self.pages.iter().map(Vec::len).sum()
    }

    /// The bytes, in pages.
    pub fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.pages.iter().map(Vec::as_slice)
    }

    /// A message with its header.
    pub fn message(&self, sequence: u32) -> Option<&[u8]> {
        let (page, at) = self.locate(sequence)?;
        let bytes = self.pages.get(page)?.get(at..)?;
        let length = u32::from_ne_bytes(*bytes.first_chunk()?);
        bytes.get(..usize::try_from(length).ok()?)
    }

    /// Walks the headers: only to explain errors and to mark the last message.
    fn locate(&self, sequence: u32) -> Option<(usize, usize)> {
        for (number, page) in self.pages.iter().enumerate().rev() {
            let mut at = 0;
            for message in MessageIter::new(page) {
                if message.sequence == sequence {
                    return Some((number, at));
                }
                at += (message.payload.len() + crate::message::HEADER_LEN).next_multiple_of(4);
            }
        }
        None
    }

    fn page(&mut self) -> &mut Vec<u8> {
        let full = self.pages.last().is_none_or(|page| page.len() + FREE > PAGE);
        if full {
            // The first page starts small and grows: most batches are a few hundred bytes.
            let size = if self.pages.is_empty() { 4096 } else { PAGE };
            self.pages.push(Vec::with_capacity(size));
        }
        let last = self.pages.len() - 1;
        &mut self.pages[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(messages: u32, payload: usize) -> Batch {
        let mut batch = Batch::new(u32::MAX - 1);
        for index in 0..messages {
            let value = vec![index.to_le_bytes()[0]; payload];
            let fill = |w: &mut MessageWriter<'_>| {
                w.attribute(1, &value);
            };
            batch.add(20, 0, fill).unwrap();
        }
        batch
    }

    #[test]
    fn no_message_spans_two_pages() {
        let batch = filled(100, 60_000);
        assert!(batch.pages().count() > 5);
        let whole: usize = batch.pages().map(|page| MessageIter::new(page).count()).sum();
        assert_eq!(whole, 100);
        assert_eq!(batch.size(), 100 * (16 + 4 + 60_000));
    }

    #[test]
    fn a_message_is_found_by_its_number_even_across_the_wrap() {
        let batch = filled(40, 60_000);
        let message = batch.message(20).unwrap();
        assert_eq!((message.len(), message[20]), (16 + 4 + 60_000, 22));
        assert_eq!(batch.last(), Some(37));
        assert_eq!(batch.message(38), None);
    }

    #[test]
    fn flags_are_added_to_the_message_asked_for_only() {
        let mut batch = filled(3, 4);
        batch.set_flags(0, 4);
        let flags: Vec<_> = batch.pages().flat_map(MessageIter::new).map(|m| m.flags).collect();
        assert_eq!(flags, [0, 0, 4]);
    }
}

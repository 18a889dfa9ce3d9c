//! Cuts a watch into lines.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::failure::Failure;
use super::link::Pieces;

/// Largest event taken, in bytes. etcd holds no object over 1.5 MiB (its
/// `--max-request-bytes`), and JSON is a few times the size of what it holds.
pub(super) const MAX_OBJECT: usize = 32 << 20;

/// The lines of an answer, as they arrive.
#[derive(Debug)]
pub(super) struct Lines {
    pieces: Pieces,
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no end of a line.
    searched: usize,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line, without its end.
    Whole(Bytes),
    /// What was left when the stream ended in good order: nothing, or a line that
    /// may or may not be whole.
    Rest(Bytes),
}

impl Lines {
    pub(super) fn new(pieces: Pieces) -> Self {
        Self { pieces, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line.
    ///
    /// # Errors
    /// The connection breaks or stays silent for `patience`, or the line has no end.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Line, Failure> {
        loop {
            if let Some(line) = self.cut()? {
                return Ok(Line::Whole(line));
            }
            match self.pieces.next(patience).await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Ok(Line::Rest(self.buffer.split().freeze())),
            }
        }
    }

    fn cut(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            if self.searched > MAX_OBJECT {
                return Err(Failure::garbled(format!("has an event over {} MiB", MAX_OBJECT >> 20)));
            }
            return Ok(None);
        };
        let mut line = self.buffer.split_to(self.searched + end + 1);
        line.truncate(line.len() - 1);
        self.searched = 0;
        Ok(Some(line.freeze()))
    }
}

//! Cuts a watch into events.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Decoder, Envelope, MAX_OBJECT, WatchEvent};
use crate::api::client::Chunks;
use crate::api::failure::Failure;
use crate::convert::Resource;

/// The events of a watch, one a line, as they arrive.
#[derive(Debug)]
pub(in crate::api) struct WatchStream {
    chunks: Chunks,
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no end of a line.
    searched: usize,
    /// The last line.
    line: Bytes,
}

impl WatchStream {
    pub(in crate::api) fn new(chunks: Chunks) -> Self {
        Self { chunks, buffer: BytesMut::new(), searched: 0, line: Bytes::new() }
    }

    /// The next event, or nothing at the regular end of the watch.
    ///
    /// # Errors
    /// The connection breaks or delivers no data for `time_limit`; or the next event is an error or invalid.
    pub(in crate::api) async fn next<'a, T: Resource>(
        &'a mut self,
        decoder: &mut Decoder,
        time_limit: Duration,
    ) -> Result<Option<WatchEvent<'a, T>>, Failure> {
        // Releases the last one, so that the buffer can be used again.
        self.line = Bytes::new();
        while self.line.trim_ascii().is_empty() {
            if self.take_line()? {
                continue;
            }
            match self.chunks.next(time_limit).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                // Servers end every line. A rest is the start of an event that broke off, and resuming the watch brings
                // it again. Only an error would not come again.
                None => {
                    return match Envelope::read(&self.buffer) {
                        Err(rejection @ Failure::Rejected(_)) => Err(rejection),
                        _ => Ok(None),
                    };
                }
            }
        }
        decoder.event(&self.line).map(Some)
    }

    /// Takes a line out of the buffer; false if none is complete.
    fn take_line(&mut self) -> Result<bool, Failure> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            if self.searched > MAX_OBJECT {
                return Err(Failure::invalid(format!("has an event over {} MiB", MAX_OBJECT >> 20)));
            }
            return Ok(false);
        };
        let mut line = self.buffer.split_to(self.searched + end + 1);
        line.truncate(line.len() - 1);
        self.searched = 0;
        self.line = line.freeze();
        Ok(true)
    }
}

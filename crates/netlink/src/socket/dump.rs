//! Single requests, and dumps of all objects of a kind.
//!
//! The kernel writes a dump piece by piece, as it is read. It marks the pieces
//! when something changed in between, and drops some when the reader is too
//! slow. Neither kind of dump is passed on as a complete one.

use std::io::IoSlice;

use super::receive::Received;
use super::{NetlinkSocket, options};
use crate::NetlinkError;
use crate::answer::Answer;
use crate::message::{Message, MessageIter, MessageWriter, flag};

/// Whether a dump shows one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Nothing changed while the kernel wrote it.
    Consistent,
    /// Something changed (`NLM_F_DUMP_INTR`); an object may be missing, duplicated or half new.
    Interrupted,
}

impl NetlinkSocket {
    /// How often an interrupted or incomplete dump is requested again.
    pub const DUMP_ATTEMPTS: usize = 10;

    /// Sends one request and passes every message of the answer to `each`.
    ///
    /// The request must carry [`flag::ACK`] unless the kernel answers with an end mark by itself.
    ///
    /// # Errors
    /// The kernel rejected it, or did not answer.
    pub fn request<T: Default>(
        &mut self,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut MessageWriter<'_>),
        each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NetlinkError> {
        let request = self.compose(kind, flags, fill)?;
        self.exchange(&request, each)?.map(|(answer, _)| answer).ok_or(NetlinkError::Overrun)
    }

    /// Requests all objects of a kind and folds them with `each`, starting over when the dump was
    /// interrupted.
    ///
    /// # Errors
    /// The kernel rejected the request, did not answer, or the dump was interrupted every time.
    pub fn dump<T: Default>(
        &mut self,
        kind: u16,
        fill: impl Fn(&mut MessageWriter<'_>),
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NetlinkError> {
        for _ in 0..Self::DUMP_ATTEMPTS {
            if let (answer, Consistency::Consistent) = self.dump_once(kind, &fill, &mut each)? {
                return Ok(answer);
            }
        }
        Err(NetlinkError::Interrupted { attempts: Self::DUMP_ATTEMPTS })
    }

    /// Requests all objects of a kind, folds them with `each`, and returns whether the dump was
    /// interrupted.
    ///
    /// Many subsystems count every change as an interruption, whether it touched what is dumped or
    /// not; a caller that can tell may need less than [`dump`](Self::dump).
    ///
    /// # Errors
    /// The kernel rejected the request, did not answer, or answers were lost every time.
    pub fn dump_once<T: Default>(
        &mut self,
        kind: u16,
        fill: impl Fn(&mut MessageWriter<'_>),
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<(T, Consistency), NetlinkError> {
        for _ in 0..Self::DUMP_ATTEMPTS {
            let request = self.compose(kind, flag::DUMP, &fill)?;
            if let Some(read) = self.exchange(&request, &mut each)? {
                return Ok(read);
            }
        }
        Err(NetlinkError::Overrun)
    }

    fn compose(
        &mut self,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Result<Vec<u8>, NetlinkError> {
        let mut buffer = Vec::new();
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mut writer = MessageWriter::new(&mut buffer, kind, flag::REQUEST | flags, sequence);
        fill(&mut writer);
        writer.finish()?;
        Ok(buffer)
    }

    /// Sends one message and reads to the end of its answer; nothing if parts of it were lost.
    fn exchange<T: Default>(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<Option<(T, Consistency)>, NetlinkError> {
        let sequence = self.sequence.wrapping_sub(1);
        self.send(&[IoSlice::new(request)], request.len())?;
        let (mut answer, mut consistency, mut is_complete) = (T::default(), Consistency::Consistent, true);
        loop {
            let length = match self.receive(false)? {
                Received::Bytes(length) => length,
                Received::Nothing => return Err(NetlinkError::TimedOut { after: Self::TIMEOUT }),
                Received::Overrun => {
                    options::grow_receive_buffer(&self.socket);
                    is_complete = false;
                    continue;
                }
            };
            for message in MessageIter::new(self.buffer.bytes(length)).filter(|m| m.sequence == sequence) {
                if message.flags & flag::DUMP_INTR != 0 {
                    consistency = Consistency::Interrupted;
                }
                match Answer::of(&message) {
                    Answer::Data => each(&mut answer, &message),
                    Answer::Done => return Ok(is_complete.then_some((answer, consistency))),
                    Answer::Rejected(nack) => return Err(nack.into()),
                    Answer::Noise => {}
                }
            }
        }
    }
}

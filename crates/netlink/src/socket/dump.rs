//! Asking: single requests, and dumps of all objects of a kind.
//!
//! The kernel writes a dump piece by piece, as it is read. It marks the pieces
//! when something changed in between, and drops some when the reader is too
//! slow; neither kind of dump is passed on as if it were whole.

use std::io::{self, IoSlice};

use super::receive::Received;
use super::{NetlinkSocket, options};
use crate::NetlinkError;
use crate::answer::Answer;
use crate::message::{Message, MessageIter, MessageWriter, flag};

/// Whether a dump shows one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steadiness {
    /// Nothing changed while the kernel wrote it.
    Undisturbed,
    /// Something changed; an object may be missing, doubled or half new.
    Disturbed,
}

/// How an answer arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Whole,
    /// All of it, yet written while something changed.
    Disturbed,
    /// Not all of it.
    Lost,
}

impl NetlinkSocket {
    /// How often a dump that was disturbed or lost is asked for.
    pub const DUMP_ATTEMPTS: usize = 10;

    /// Sends one request and hands every message of the answer to `each`.
    ///
    /// The request must carry [`flag::ACK`] unless the kernel answers with an end mark by itself.
    ///
    /// # Errors
    /// The kernel refused it, or did not answer.
    pub fn request<T: Default>(
        &mut self,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut MessageWriter<'_>),
        each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NetlinkError> {
        let request = self.compose(kind, flags, fill)?;
        let (answer, reading) = self.exchange(&request, each)?;
        if reading == Reading::Lost { Err(NetlinkError::Overrun) } else { Ok(answer) }
    }

    /// Asks for all objects of a kind and folds them with `each`, starting over when changes
    /// disturbed the dump.
    ///
    /// # Errors
    /// The kernel refused, did not answer, or the dump was disturbed every time.
    pub fn dump<T: Default>(
        &mut self,
        kind: u16,
        fill: impl Fn(&mut MessageWriter<'_>),
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, NetlinkError> {
        for _ in 0..Self::DUMP_ATTEMPTS {
            if let (answer, Steadiness::Undisturbed) = self.dump_once(kind, &fill, &mut each)? {
                return Ok(answer);
            }
        }
        Err(NetlinkError::Interrupted { attempts: Self::DUMP_ATTEMPTS })
    }

    /// Asks for all objects of a kind and folds them with `each`, and says whether changes
    /// disturbed the dump.
    ///
    /// Many subsystems count every change as a disturbance, whether it touched what is dumped or
    /// not; a caller that can tell may be content with less than [`dump`](Self::dump).
    ///
    /// # Errors
    /// The kernel refused, did not answer, or answers got lost every time.
    pub fn dump_once<T: Default>(
        &mut self,
        kind: u16,
        fill: impl Fn(&mut MessageWriter<'_>),
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<(T, Steadiness), NetlinkError> {
        for _ in 0..Self::DUMP_ATTEMPTS {
            let request = self.compose(kind, flag::DUMP, &fill)?;
            match self.exchange(&request, &mut each)? {
                (answer, Reading::Whole) => return Ok((answer, Steadiness::Undisturbed)),
                (answer, Reading::Disturbed) => return Ok((answer, Steadiness::Disturbed)),
                (_, Reading::Lost) => {}
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
        match writer.finish() {
            Ok(()) => Ok(buffer),
            Err(too_long) => Err(NetlinkError::Send { source: io::Error::other(too_long) }),
        }
    }

    /// Sends one message and reads to the end of its answer.
    fn exchange<T: Default>(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<(T, Reading), NetlinkError> {
        let sequence = self.sequence.wrapping_sub(1);
        self.send(&[IoSlice::new(request)], request.len())?;
        let (mut answer, mut reading) = (T::default(), Reading::Whole);
        loop {
            let length = match self.receive(false)? {
                Received::Bytes(length) => length,
                Received::Nothing => return Err(NetlinkError::TimedOut { after: Self::TIMEOUT }),
                Received::Overrun => {
                    options::grow_receive_buffer(&self.socket);
                    reading = Reading::Lost;
                    continue;
                }
            };
            for message in MessageIter::new(self.buffer.bytes(length)).filter(|m| m.sequence == sequence) {
                if message.flags & flag::DUMP_INTR != 0 && reading == Reading::Whole {
                    reading = Reading::Disturbed;
                }
                match Answer::of(&message) {
                    Answer::Data => each(&mut answer, &message),
                    Answer::Done => return Ok((answer, reading)),
                    Answer::Refused(refusal) => return Err(refusal.into()),
                    Answer::Noise => {}
                }
            }
        }
    }
}

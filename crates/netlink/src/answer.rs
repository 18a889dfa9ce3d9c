//! The kernel's answers to requests: acknowledgements and errors.

use std::io;

use crate::message::{HEADER_LEN, Message, flag, kind};
use crate::{AttributeIter, NetlinkError};

/// The error with which the kernel rejected one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// The sequence number of the message.
    pub sequence: u32,
    /// The error number, positive.
    pub errno: i32,
    /// The kernel's own explanation, where it gave one.
    pub message: Option<String>,
    /// Where in the message the fault lies, in bytes from its header's start.
    pub offset: Option<usize>,
}

impl From<Nack> for NetlinkError {
    fn from(nack: Nack) -> Self {
        Self::Rejected { message: nack.message, source: io::Error::from_raw_os_error(nack.errno) }
    }
}

/// What a message from the kernel is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The request was acknowledged, or a dump ended.
    Done,
    /// The request was rejected.
    Rejected(Nack),
    /// Part of the answer.
    Data,
    /// A control message without meaning here.
    Noise,
}

impl Answer {
    pub(crate) fn of(message: &Message<'_>) -> Self {
        match message.kind {
            kind::ERROR | kind::DONE => match errno(message.payload) {
                Some(errno) if errno != 0 => Self::Rejected(nack(message, errno)),
                // A dump's end may lack a number; an error without one is malformed.
                None if message.kind == kind::ERROR => Self::Rejected(nack(message, libc::EBADMSG)),
                _ => Self::Done,
            },
            own if own >= kind::FIRST_OWN => Self::Data,
            _ => Self::Noise,
        }
    }
}

/// The number is negative on the wire.
fn errno(payload: &[u8]) -> Option<i32> {
    payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes).wrapping_neg())
}

fn nack(message: &Message<'_>, errno: i32) -> Nack {
    /// `NLMSGERR_ATTR_MSG` and `NLMSGERR_ATTR_OFFS`, linux/netlink.h.
    const TEXT: u16 = 1;
    const OFFSET: u16 = 2;
    let explained = explanation(message).unwrap_or_else(|| AttributeIter::new(&[]));
    let offset = explained.find_kind(OFFSET).and_then(|attribute| attribute.as_u32());
    Nack {
        sequence: message.sequence,
        errno,
        message: explained.find_kind(TEXT).and_then(|attribute| attribute.as_str()).map(str::to_owned),
        offset: offset.and_then(|offset| usize::try_from(offset).ok()),
    }
}

/// The attributes after the error number and the repeated message, which may be just its header.
fn explanation<'a>(message: &Message<'a>) -> Option<AttributeIter<'a>> {
    const NUMBER: usize = 4;
    if message.flags & flag::ACK_TLVS == 0 {
        return None;
    }
    let repeated = message.payload.get(NUMBER..)?;
    let length = if message.kind == kind::DONE {
        0
    } else if message.flags & flag::CAPPED != 0 {
        HEADER_LEN
    } else {
        usize::try_from(u32::from_ne_bytes(*repeated.first_chunk()?)).ok()?.next_multiple_of(4)
    };
    repeated.get(length..).map(AttributeIter::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{MessageIter, MessageWriter};

    fn error(flags: u16, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut writer = MessageWriter::new(&mut buffer, kind::ERROR, flags, 5);
        fill(&mut writer);
        writer.finish().unwrap();
        buffer
    }

    fn answer(bytes: &[u8]) -> Answer {
        Answer::of(&MessageIter::new(bytes).next().unwrap())
    }

    #[test]
    fn zero_acknowledges() {
        let bytes = error(0, |w| {
            w.bytes(&[0; 20]);
        });
        assert_eq!(answer(&bytes), Answer::Done);
    }

    #[test]
    fn a_capped_error_carries_text_and_offset_after_the_header() {
        let bytes = error(flag::CAPPED | flag::ACK_TLVS, |w| {
            w.bytes(&(-libc::EEXIST).to_ne_bytes()).bytes(&[9; HEADER_LEN]);
            w.text(1, "already there").attribute(2, &44_u32.to_ne_bytes());
        });
        let wanted = Nack {
            sequence: 5,
            errno: libc::EEXIST,
            message: Some("already there".into()),
            offset: Some(44),
        };
        assert_eq!(answer(&bytes), Answer::Rejected(wanted));
    }

    #[test]
    fn an_uncapped_error_repeats_the_whole_message_before_its_attributes() {
        let bytes = error(flag::ACK_TLVS, |w| {
            let mut repeated = vec![7; 24];
            repeated[..4].copy_from_slice(&22_u32.to_ne_bytes());
            w.bytes(&(-libc::ENOENT).to_ne_bytes()).bytes(&repeated).text(1, "gone");
        });
        let Answer::Rejected(nack) = answer(&bytes) else { panic!("not refused") };
        assert_eq!((nack.errno, nack.message.as_deref()), (libc::ENOENT, Some("gone")));
    }

    #[test]
    fn an_error_without_a_number_counts_as_an_error() {
        assert!(matches!(answer(&error(0, |_| ())), Answer::Rejected(r) if r.errno == libc::EBADMSG));
    }
}

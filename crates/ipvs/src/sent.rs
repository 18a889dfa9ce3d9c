//! Sending many changes that have nothing to do with each other.

use portolan_netlink::{Batch, MessageWriter, NetlinkError, NetlinkSocket, flag};

use crate::IpvsError;
use crate::error::ErrorNumber;

/// The most messages in one call: the receive buffer of the socket holds as many errors.
const TOGETHER: usize = 256;

/// What a list of changes took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Netlink messages.
    pub messages: usize,
    /// What they came to in bytes.
    pub bytes: usize,
    /// System calls that carried them.
    pub calls: usize,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.calls += other.calls;
    }
}

/// What became of a list of changes.
#[derive(Debug, Default)]
#[must_use = "some may have been rejected"]
pub struct Carried {
    /// What it took.
    pub sent: Sent,
    /// Those that the kernel rejected, by their places in the list. All others were carried out.
    pub refused: Vec<(usize, IpvsError)>,
}

impl Carried {
    /// What it took, if all of them were carried out.
    ///
    /// # Errors
    /// The first that was rejected.
    pub fn all(self) -> Result<Sent, IpvsError> {
        self.refused.into_iter().next().map_or(Ok(self.sent), |(_, error)| Err(error))
    }
}

/// One change as a message.
pub(crate) trait Request {
    /// The message's type; `family` is the number of a generic netlink family, for those that have one.
    fn kind(&self, family: u16) -> u16;

    /// Flags besides those of every request.
    fn flags(&self) -> u16 {
        0
    }

    /// Writes what follows the message's header.
    fn write(&self, message: &mut MessageWriter<'_>);

    /// Whether this error says that things are as they should be.
    fn is_done_by(&self, errno: i32) -> bool;

    /// The change in words, with its object: `add virtual server …`.
    fn describe(&self) -> String;
}

/// Sends all of them.
pub(crate) fn send_all<R: Request>(
    socket: &mut NetlinkSocket,
    family: u16,
    requests: &[R],
) -> Result<Carried, IpvsError> {
    let mut carried = Carried::default();
    for (chunk, requests) in requests.chunks(TOGETHER).enumerate() {
        let failed = |source| IpvsError::Send {
            action: requests.first().map(R::describe).unwrap_or_default(),
            source,
        };
        let batch = compose(socket.new_batch(), family, requests).map_err(failed)?;
        for nack in socket.send_each(&batch).map_err(failed)? {
            let index = usize::try_from(nack.sequence.wrapping_sub(batch.first())).unwrap_or(usize::MAX);
            let request = requests.get(index);
            if let Some(request) = request.filter(|request| !request.is_done_by(nack.errno)) {
                let source = ErrorNumber::new(nack.errno);
                let error = IpvsError::Rejected { action: request.describe(), source };
                carried.refused.push((chunk * TOGETHER + index, error));
            }
        }
        carried.sent += Sent { messages: requests.len(), bytes: batch.size(), calls: 1 };
    }
    Ok(carried)
}

/// Writes the messages; the last asks for an answer, which ends the exchange.
fn compose<R: Request>(mut batch: Batch, family: u16, requests: &[R]) -> Result<Batch, NetlinkError> {
    for (index, request) in requests.iter().enumerate() {
        let answer = if index + 1 == requests.len() { flag::ACK } else { 0 };
        let flags = flag::REQUEST | request.flags() | answer;
        batch.add(request.kind(family), flags, |message| request.write(message))?;
    }
    Ok(batch)
}

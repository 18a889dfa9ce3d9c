//! One netlink socket.
//!
//! One method for each kind of exchange: a transaction ([`NetlinkSocket::send_batch`]), many independent
//! changes ([`NetlinkSocket::send_each`]), a single request ([`NetlinkSocket::request`]) and a dump
//! ([`NetlinkSocket::dump`]).
//!
//! Holds: answers are matched by sequence number, so an exchange skips what an earlier, failed one
//! left unread; every call has a timeout ([`NetlinkSocket::TIMEOUT`]).

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mnl::Bus;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, NetlinkAddr, sendmsg};

use crate::answer::Answer;
use crate::message::MessageIter;
use crate::{Batch, Nack, NetlinkError};

mod dump;
mod options;
mod receive;

pub use dump::Consistency;
pub(crate) use options::set_receive_buffer;
use receive::{Buffer, Received};

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses and routes (rtnetlink).
    Route,
    /// `nf_tables`, connection tracking, ipset.
    Netfilter,
    /// Generic netlink, such as IPVS.
    Generic,
}

impl Protocol {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Route => "routing",
            Self::Netfilter => "netfilter",
            Self::Generic => "generic netlink",
        }
    }

    const fn bus(self) -> Bus {
        match self {
            Self::Route => Bus::Route,
            Self::Netfilter => Bus::Netfilter,
            Self::Generic => Bus::Generic,
        }
    }
}

/// How the messages of a batch relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    /// They are one transaction: an error for the first ends it.
    Dependent,
    /// Each is independent.
    Independent,
}

/// A netlink socket with its own port.
pub struct NetlinkSocket {
    socket: mnl::Socket,
    buffer: Buffer,
    sequence: u32,
    send_limit: usize,
}

// A `mnl::Socket` is a file descriptor and an address; the C library keeps no state per thread.
#[expect(unsafe_code, reason = "mnl::Socket holds a raw pointer, which hides that it may change threads")]
// SAFETY: libmnl's `struct mnl_socket` is plain data that only calls through this value touch, and
// every such call takes `&mut self` or `self`.
unsafe impl Send for NetlinkSocket {}

impl NetlinkSocket {
    /// How long to wait for an answer.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Opens a socket with extended errors and a receive timeout.
    ///
    /// # Errors
    /// The kernel lacks the protocol, or the process may not open sockets.
    pub fn open(protocol: Protocol) -> Result<Self, NetlinkError> {
        let socket = mnl::Socket::new(protocol.bus())
            .map_err(|source| NetlinkError::Open { protocol: protocol.name(), source })?;
        options::prepare(&socket, Self::TIMEOUT)?;
        let send_limit = options::send_limit(&socket)?;
        Ok(Self { socket, buffer: Buffer::new(), sequence: 1, send_limit })
    }

    /// The socket's port number, by which the kernel knows it.
    pub fn port(&self) -> u32 {
        self.socket.portid()
    }

    /// An empty batch whose messages continue this socket's numbering.
    pub fn new_batch(&self) -> Batch {
        Batch::new(self.sequence)
    }

    /// Sends a batch in one call and returns the kernel's errors; none is success.
    ///
    /// The exchange ends with the answer to `asked`, the message that carries [`flag::ACK`](crate::flag::ACK), or
    /// with an error for the batch's first message, which is how a kernel answers that stopped early.
    ///
    /// # Errors
    /// The batch does not fit, could not be sent, or was not answered.
    pub fn send_batch(&mut self, batch: &Batch, asked: u32) -> Result<Vec<Nack>, NetlinkError> {
        self.exchange_batch(batch, asked, Together::Dependent)
    }

    /// Sends messages that the kernel processes one by one and independently, and returns its errors.
    ///
    /// The last message must carry [`flag::ACK`](crate::flag::ACK). Keep the batch small enough for the
    /// receive buffer to hold an error for every message.
    ///
    /// # Errors
    /// The batch does not fit, could not be sent, or some answers were lost; messages may have been
    /// processed nevertheless.
    pub fn send_each(&mut self, batch: &Batch) -> Result<Vec<Nack>, NetlinkError> {
        match batch.last() {
            Some(last) => self.exchange_batch(batch, last, Together::Independent),
            None => Ok(Vec::new()),
        }
    }

    fn exchange_batch(
        &mut self,
        batch: &Batch,
        asked: u32,
        together: Together,
    ) -> Result<Vec<Nack>, NetlinkError> {
        self.skip_past(batch);
        let pages: Vec<IoSlice<'_>> = batch.pages().map(IoSlice::new).collect();
        self.send(&pages, batch.size())?;
        let is_last_nack = |answered: u32| {
            answered == asked || (together == Together::Dependent && answered == batch.first())
        };
        let mut nacks = Vec::new();
        let mut lost = false;
        loop {
            match self.receive(lost)? {
                Received::Bytes(length) => {
                    let over = self.take_answers(length, batch, asked, is_last_nack, &mut nacks);
                    if over && !(lost && together == Together::Independent) {
                        return Ok(nacks);
                    }
                }
                // The answers came faster than they were read. Read those that were kept, without
                // waiting for one that may be among the lost.
                Received::Overrun => lost = true,
                Received::Nothing if lost && together == Together::Dependent && !nacks.is_empty() => {
                    return Ok(nacks);
                }
                Received::Nothing if lost => return Err(NetlinkError::Overrun),
                Received::Nothing => return Err(NetlinkError::TimedOut { after: Self::TIMEOUT }),
            }
        }
    }

    /// The most bytes one batch can have, after growing the send buffer towards `wanted`.
    ///
    /// # Errors
    /// The socket's options cannot be read.
    pub fn grow_send_buffer(&mut self, wanted: usize) -> Result<usize, NetlinkError> {
        if wanted > self.send_limit {
            self.send_limit = options::grow_send_buffer(&self.socket, wanted)?;
        }
        Ok(self.send_limit)
    }

    /// Continues after a batch's sequence numbers.
    fn skip_past(&mut self, batch: &Batch) {
        let end = batch.first().wrapping_add(batch.len());
        // Numbers wrap around: the later of two is the one less than half the circle ahead.
        if end.wrapping_sub(self.sequence) < u32::MAX / 2 {
            self.sequence = end;
        }
    }

    /// Collects the errors of one read and returns whether it held the last answer.
    fn take_answers(
        &self,
        length: usize,
        batch: &Batch,
        asked: u32,
        is_last_nack: impl Fn(u32) -> bool,
        nacks: &mut Vec<Nack>,
    ) -> bool {
        let mut over = false;
        for message in MessageIter::new(self.buffer.bytes(length)) {
            if message.sequence.wrapping_sub(batch.first()) >= batch.len() {
                continue;
            }
            match Answer::of(&message) {
                Answer::Done => over |= message.sequence == asked,
                Answer::Rejected(nack) => {
                    over |= is_last_nack(message.sequence);
                    nacks.push(nack);
                }
                Answer::Data | Answer::Noise => {}
            }
        }
        over
    }

    fn send(&mut self, pages: &[IoSlice<'_>], size: usize) -> Result<(), NetlinkError> {
        let limit = self.grow_send_buffer(size)?;
        if size > limit {
            return Err(NetlinkError::TooLarge { size, limit });
        }
        let kernel = NetlinkAddr::new(0, 0);
        loop {
            match sendmsg(self.socket.as_raw_fd(), pages, &[], MsgFlags::empty(), Some(&kernel)) {
                Ok(sent) if sent == size => return Ok(()),
                Ok(_) => return Err(NetlinkError::Send { source: io::ErrorKind::WriteZero.into() }),
                Err(Errno::EINTR) => {}
                Err(Errno::EMSGSIZE) => return Err(NetlinkError::TooLarge { size, limit }),
                Err(errno) => return Err(NetlinkError::Send { source: errno.into() }),
            }
        }
    }

    fn receive(&mut self, at_once: bool) -> Result<Received, NetlinkError> {
        if at_once && !receive::is_readable(&self.socket)? {
            return Ok(Received::Nothing);
        }
        receive::receive(&self.socket, &mut self.buffer)
    }
}

impl std::fmt::Debug for NetlinkSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetlinkSocket").field("port", &self.port()).finish_non_exhaustive()
    }
}

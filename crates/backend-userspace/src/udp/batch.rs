//! Several datagrams by one system call.
//!
//! Every relaying thread has one [`Batch`], which is as large as the largest datagrams: it is used between
//! two waits and never across one, so that sessions need no buffers.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg};
use portolan_core::IpFamily;
use tokio::net::UdpSocket;

use crate::hops::Hops;

/// How many datagrams one call moves.
const MOST: usize = 16;
/// No datagram is longer: the length in a UDP header has 16 bits (RFC 768).
const LONGEST: usize = 1 << 16;

thread_local! {
    /// This thread's.
    pub(super) static BATCH: RefCell<Batch> = RefCell::new(Batch::new());
}

/// Datagrams that came in together.
pub(super) struct Batch {
    buffers: Vec<Vec<u8>>,
    received: Vec<Received>,
    // The kernel shortens the room for a sender's address and for what is told besides to what one took. So the
    // families, whose addresses have different lengths, each have headers of their own, and so have answers, with which
    // nothing is told.
    from_v4: MultiHeaders<SockaddrStorage>,
    from_v6: MultiHeaders<SockaddrStorage>,
    answers: MultiHeaders<SockaddrStorage>,
    outgoing: MultiHeaders<SockaddrStorage>,
}

/// What is known of a datagram that came in.
#[derive(Debug, Clone, Copy)]
struct Received {
    length: usize,
    sender: Option<SocketAddr>,
    hops: Hops,
}

impl Batch {
    fn new() -> Self {
        let headers = || MultiHeaders::preallocate(MOST, Some(nix::cmsg_space!(i32)));
        Self {
            buffers: vec![vec![0; LONGEST]; MOST],
            received: Vec::with_capacity(MOST),
            from_v4: headers(),
            from_v6: headers(),
            answers: MultiHeaders::preallocate(MOST, None),
            outgoing: MultiHeaders::preallocate(MOST, None),
        }
    }

    /// Takes what clients sent to a socket that has their hops told ([`have_told`](crate::hops::have_told)), at least
    /// one datagram. All of them are of this family.
    pub(super) fn receive(&mut self, socket: &UdpSocket, family: IpFamily) -> io::Result<()> {
        let headers = match family {
            IpFamily::V4 => &mut self.from_v4,
            IpFamily::V6 => &mut self.from_v6,
        };
        receive(socket, headers, &mut self.buffers, &mut self.received)
    }

    /// Takes what the endpoint answered that a socket is connected to, at least one datagram. Nothing is known of them
    /// but their length.
    pub(super) fn receive_answers(&mut self, socket: &UdpSocket) -> io::Result<()> {
        receive(socket, &mut self.answers, &mut self.buffers, &mut self.received)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.received.len()
    }

    /// Who sent one.
    pub(super) fn sender(&self, index: usize) -> Option<SocketAddr> {
        self.received.get(index)?.sender
    }

    /// How many hops one had left.
    pub(super) fn hops(&self, index: usize) -> Option<Hops> {
        Some(self.received.get(index)?.hops)
    }

    /// The first one from `start` on that somebody else sent.
    pub(super) fn end_of_run(&self, start: usize) -> usize {
        let first = self.sender(start);
        let run = (start..self.len()).take_while(|index| self.sender(*index) == first);
        start + run.count()
    }

    /// Sends some of them: to where the socket is connected, or to somebody. One that cannot be sent, because it is
    /// too long for the way, is lost and does not keep back those after it.
    ///
    /// # Errors
    /// What the socket is connected to does not listen, or there is no room now. Returns with it where those begin
    /// that were not sent.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        run: Range<usize>,
        to: Option<SocketAddr>,
    ) -> Result<(), (usize, io::Error)> {
        let mut next = run.start;
        while next < run.end {
            match self.send_at_once(socket, next..run.end, to) {
                // A call that fails for the first one says why; one that fails later says how many it sent.
                Ok(count) => next += count.max(1),
                Err(error) => match error.kind() {
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock => {
                        return Err((next, error));
                    }
                    _ => next += 1,
                },
            }
        }
        Ok(())
    }

    /// Sends some of them by one call, and returns how many that were.
    fn send_at_once(
        &mut self,
        socket: &UdpSocket,
        run: Range<usize>,
        to: Option<SocketAddr>,
    ) -> io::Result<usize> {
        let Self { buffers, received, outgoing, .. } = self;
        let datagrams = received.iter().zip(buffers).take(run.end).skip(run.start);
        let slices: Vec<_> = datagrams.map(|(one, buffer)| [IoSlice::new(&buffer[..one.length])]).collect();
        let addresses = vec![to.map(SockaddrStorage::from); slices.len()];
        let sent = sendmmsg(socket.as_raw_fd(), outgoing, &slices, addresses, [], MsgFlags::MSG_DONTWAIT)?;
        Ok(sent.count())
    }
}

fn receive(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    buffers: &mut [Vec<u8>],
    received: &mut Vec<Received>,
) -> io::Result<()> {
    received.clear();
    let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
    let datagrams = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    received.extend(datagrams.map(|one| Received::of(&one)));
    Ok(())
}

impl Received {
    fn of(one: &RecvMsg<'_, '_, SockaddrStorage>) -> Self {
        // What was cut off was nothing that was asked for.
        let hops = Hops::of_datagram(one.cmsgs().into_iter().flatten());
        Self { length: one.bytes, sender: one.address.as_ref().and_then(address), hops }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || storage.as_sockaddr_in().map(|address| SocketAddr::from(*address));
    let v6 = || storage.as_sockaddr_in6().map(|address| SocketAddr::from(*address));
    v4().or_else(v6)
}

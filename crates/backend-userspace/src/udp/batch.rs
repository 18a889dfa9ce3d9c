//! Several datagrams by one system call.
//!
//! Every relaying thread has one [`Batch`], which is as large as the largest datagrams: it is used between
//! two waits and never across one, so that sessions need no buffers.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use tokio::net::UdpSocket;

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
    /// For each datagram its length and who sent it.
    received: Vec<(usize, Option<SocketAddr>)>,
    // The kernel shortens the room for a sender's address to what one took, so the families, whose addresses
    // have different lengths, each have headers of their own.
    from_v4: MultiHeaders<SockaddrStorage>,
    from_v6: MultiHeaders<SockaddrStorage>,
    outgoing: MultiHeaders<SockaddrStorage>,
}

impl Batch {
    fn new() -> Self {
        let headers = || MultiHeaders::preallocate(MOST, None);
        Self {
            buffers: vec![vec![0; LONGEST]; MOST],
            received: Vec::with_capacity(MOST),
            from_v4: headers(),
            from_v6: headers(),
            outgoing: headers(),
        }
    }

    /// Takes what waits at a socket, at least one datagram.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received.clear();
        let headers = if socket.local_addr()?.is_ipv4() { &mut self.from_v4 } else { &mut self.from_v6 };
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let datagrams =
            recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        self.received.extend(datagrams.map(|one| (one.bytes, one.address.as_ref().and_then(address))));
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.received.len()
    }

    /// Who sent one.
    pub(super) fn sender(&self, index: usize) -> Option<SocketAddr> {
        self.received.get(index)?.1
    }

    /// The first one from `start` on that somebody else sent.
    pub(super) fn end_of_run(&self, start: usize) -> usize {
        let first = self.sender(start);
        let run = (start..self.len()).take_while(|index| self.sender(*index) == first);
        start + run.count()
    }

    /// Sends some of them: to where the socket is connected, or to somebody.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        run: Range<usize>,
        to: Option<SocketAddr>,
    ) -> io::Result<()> {
        let Self { buffers, received, outgoing, .. } = self;
        let datagrams = received.iter().zip(buffers).take(run.end).skip(run.start);
        let slices: Vec<_> =
            datagrams.map(|((length, _), buffer)| [IoSlice::new(&buffer[..*length])]).collect();
        let addresses = vec![to.map(SockaddrStorage::from); slices.len()];
        sendmmsg(socket.as_raw_fd(), outgoing, &slices, addresses, [], MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || storage.as_sockaddr_in().map(|address| SocketAddr::from(*address));
    let v6 = || storage.as_sockaddr_in6().map(|address| SocketAddr::from(*address));
    v4().or_else(v6)
}

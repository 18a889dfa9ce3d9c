//! What bytes of one direction are in between two connections: a pipe, or memory where there is no pipe to be had.
//!
//! Receivers that do not read keep what carries their bytes for as long as they like. So pipes may run out, and others
//! must not wait for that: they are served by copying.

use std::io;
use std::os::fd::AsRawFd;

use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipe::{Ends, Pipes};

/// How much is copied at once.
const COPIED: usize = 16 << 10;

/// Takes bytes from one connection and gives them to another.
#[derive(Debug)]
pub(super) struct Carrier<'a> {
    pipes: &'a Pipes,
    by: By,
    /// How many bytes it has.
    held: usize,
}

#[derive(Debug)]
enum By {
    Pipe(Ends),
    /// All that was received, and how much of it was sent.
    Memory(Vec<u8>, usize),
    /// It was given back.
    Nothing,
}

impl<'a> Carrier<'a> {
    /// An empty one.
    pub(super) fn new(pipes: &'a Pipes) -> Self {
        let by = pipes.take().map_or_else(|| By::Memory(Vec::new(), 0), By::Pipe);
        Self { pipes, by, held: 0 }
    }

    /// Whether everything was given away.
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes what a connection has, as far as there is room; nothing at its end.
    ///
    /// # Errors
    /// There is nothing for now (`WouldBlock`), or the connection broke.
    pub(super) fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let most = self.pipes.allowance();
        let count = from.try_io(Interest::READABLE, || match &mut self.by {
            By::Pipe(ends) => Ok(splice(from, None, &ends.input, None, most, flags())?),
            By::Memory(bytes, sent) => {
                *sent = 0;
                bytes.resize(most.min(COPIED), 0);
                let received = recv(from.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT);
                bytes.truncate(*received.as_ref().unwrap_or(&0));
                Ok(received?)
            }
            By::Nothing => Err(io::ErrorKind::BrokenPipe.into()),
        })?;
        self.held += count;
        self.pipes.hold(count);
        Ok(count)
    }

    /// Gives a connection as much as it takes.
    ///
    /// # Errors
    /// It takes nothing for now (`WouldBlock`), or broke.
    pub(super) fn empty(&mut self, to: &TcpStream) -> io::Result<()> {
        let held = self.held;
        let count = to.try_io(Interest::WRITABLE, || match &mut self.by {
            By::Pipe(ends) => Ok(splice(&ends.output, None, to, None, held, flags())?),
            By::Memory(bytes, sent) => {
                let rest = bytes.get(*sent..).unwrap_or_default();
                let count = send(to.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
                *sent += count;
                Ok(count)
            }
            By::Nothing => Err(io::ErrorKind::BrokenPipe.into()),
        })?;
        self.held -= count;
        self.pipes.let_go(count);
        Ok(())
    }
}

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        self.pipes.let_go(self.held);
        match std::mem::replace(&mut self.by, By::Nothing) {
            By::Pipe(ends) if self.held == 0 => self.pipes.give_back(ends),
            By::Pipe(ends) => self.pipes.close(ends),
            By::Memory(..) | By::Nothing => {}
        }
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

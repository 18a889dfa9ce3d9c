//! Carries the bytes of one direction from one connection to another: through a pipe, with `splice`, so that they are not
//! copied through this process, or through memory where no pipe is free.
//!
//! A direction has a pipe only while bytes are under way, so that idle connections have none. Receivers that do not read
//! keep their pipe for as long as they like; then others are served by copying instead of waiting.
//!
//! Invariant: there are never more pipes than descriptors were reserved for, and the bytes in all carriers are bounded.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How many bytes a pipe holds: enough for the receive window of a fast connection. The pipe stays smaller where the user
/// has too many pages in pipes (`fs.pipe-user-pages-soft`).
const CAPACITY: usize = 256 << 10;
/// How many bytes all carriers may hold together before each new one is limited to a page.
const BUDGET: usize = 64 << 20;
const PAGE: usize = 4 << 10;
/// How many bytes are copied at once without a pipe.
const COPY_SIZE: usize = 16 << 10;
const SPLICE_FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_MOVE.union(SpliceFFlags::SPLICE_F_NONBLOCK);
/// How many empty pipes are kept for reuse.
const MAX_IDLE: usize = 64;

/// All pipes of the process.
#[derive(Debug)]
pub(crate) struct Pipes {
    idle: Mutex<Vec<Pipe>>,
    max: usize,
    open: AtomicUsize,
    /// Bytes that were received and not sent yet, in pipes and in memory.
    held: AtomicUsize,
}

#[derive(Debug)]
struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (output, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        if let Ok(capacity) = i32::try_from(CAPACITY) {
            // A smaller one works too.
            let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(capacity));
        }
        Ok(Self { output, input })
    }
}

impl Pipes {
    /// At most `max` pipes.
    pub(crate) fn new(max: usize) -> Self {
        Self { idle: Mutex::default(), max, open: AtomicUsize::new(0), held: AtomicUsize::new(0) }
    }

    /// An empty pipe; `None` where there are too many or no descriptors are left.
    fn take(&self) -> Option<Pipe> {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Some(idle);
        }
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let pipe = if before < self.max { Pipe::open().ok() } else { None };
        if pipe.is_none() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        pipe
    }

    /// Keeps a pipe for reuse if it is empty, or closes it.
    fn give_back(&self, pipe: Pipe, is_empty: bool) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if is_empty && idle.len() < MAX_IDLE {
            return idle.push(pipe);
        }
        drop(idle);
        drop(pipe);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many bytes a direction may receive now.
    fn allowance(&self) -> usize {
        BUDGET.saturating_sub(self.held.load(Ordering::Relaxed)).clamp(PAGE, CAPACITY)
    }
}

/// Takes bytes from one connection and gives them to another.
#[derive(Debug)]
pub(super) struct Carrier<'a> {
    pipes: &'a Pipes,
    pipe: Option<Pipe>,
    /// What was received and not sent yet, without a pipe.
    copied: Vec<u8>,
    held: usize,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(pipes: &'a Pipes) -> Self {
        Self { pipes, pipe: pipes.take(), copied: Vec::new(), held: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Receives what a connection has, as far as there is space; 0 at its end. Call this when empty.
    ///
    /// # Errors
    /// It has nothing now (`WouldBlock`), or broke.
    pub(super) fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let max = self.pipes.allowance();
        let count = from.try_io(Interest::READABLE, || {
            if let Some(pipe) = &self.pipe {
                return Ok(splice(from, None, &pipe.input, None, max, SPLICE_FLAGS)?);
            }
            self.copied.resize(max.min(COPY_SIZE), 0);
            let received = recv(from.as_raw_fd(), &mut self.copied, MsgFlags::MSG_DONTWAIT);
            self.copied.truncate(*received.as_ref().unwrap_or(&0));
            Ok(received?)
        })?;
        self.held += count;
        self.pipes.held.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }

    /// Sends as much as a connection takes.
    ///
    /// # Errors
    /// It takes nothing now (`WouldBlock`), or broke.
    pub(super) fn empty(&mut self, to: &TcpStream) -> io::Result<()> {
        let held = self.held;
        let count = to.try_io(Interest::WRITABLE, || {
            if let Some(pipe) = &self.pipe {
                return Ok(splice(&pipe.output, None, to, None, held, SPLICE_FLAGS)?);
            }
            let count = send(to.as_raw_fd(), &self.copied, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
            self.copied.drain(..count);
            Ok(count)
        })?;
        self.held -= count;
        self.pipes.held.fetch_sub(count, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        self.pipes.held.fetch_sub(self.held, Ordering::Relaxed);
        if let Some(pipe) = self.pipe.take() {
            self.pipes.give_back(pipe, self.held == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_was_given_back_is_reused_and_one_that_was_closed_makes_space() {
        let pipes = Pipes::new(2);
        let (first, second) = (pipes.take().unwrap(), pipes.take().unwrap());
        assert!(pipes.take().is_none());
        let number = first.input.as_raw_fd();
        pipes.give_back(first, true);
        assert_eq!(pipes.take().unwrap().input.as_raw_fd(), number);
        assert!(pipes.take().is_none());
        pipes.give_back(second, false);
        assert!(pipes.take().is_some());
    }

    #[test]
    fn the_allowance_shrinks_to_a_page_as_more_is_held() {
        let pipes = Pipes::new(0);
        assert_eq!(pipes.allowance(), CAPACITY);
        pipes.held.store(BUDGET - PAGE - 1, Ordering::Relaxed);
        assert_eq!(pipes.allowance(), PAGE + 1);
        pipes.held.store(2 * BUDGET - PAGE - 1, Ordering::Relaxed);
        assert_eq!(pipes.allowance(), PAGE);
        pipes.held.store(0, Ordering::Relaxed);
        assert_eq!(pipes.allowance(), CAPACITY);
    }
}

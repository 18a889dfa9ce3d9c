//! Pipes, through which `splice` moves bytes without this process seeing them.
//!
//! A direction of a connection has a pipe only while bytes are on their way, so that idle connections cost
//! none. Empty ones are kept for the next; one that still holds bytes is closed, as they are nobody else's.
//!
//! Holds: there are never more pipes than descriptors were set aside for, and what all of them hold together is
//! bounded. Who asks for one too many is told so and does without ([`carrier`](super::carrier)).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

/// How much a pipe holds: enough for a receive window of a fast connection, little enough for a hundred.
/// Where the user has too many pages in pipes already (`fs.pipe-user-pages-soft`) it stays smaller.
const CAPACITY: usize = 256 << 10;
/// What all directions together may hold whose receivers are slower than their senders, before each gets little.
const BUDGET: usize = 64 << 20;
/// What each may take all the same: a page.
const LEAST: usize = 4 << 10;
/// How many idle pipes are kept.
const KEPT: usize = 64;

/// All pipes of the process.
#[derive(Debug)]
pub(crate) struct Pipes {
    /// Those that nobody uses right now.
    idle: Mutex<Vec<Ends>>,
    most: usize,
    open: AtomicUsize,
    /// Bytes that were received and not yet sent, in pipes or elsewhere.
    held: AtomicUsize,
}

/// The two ends of a pipe.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) output: OwnedFd,
    pub(super) input: OwnedFd,
}

impl Pipes {
    /// So many at most.
    pub(crate) fn new(most: usize) -> Self {
        Self { idle: Mutex::default(), most, open: AtomicUsize::new(0), held: AtomicUsize::new(0) }
    }

    /// An empty pipe; nothing where there are enough already or no descriptors are left.
    pub(super) fn take(&self) -> Option<Ends> {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Some(idle);
        }
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let ends = if before < self.most { Ends::new().ok() } else { None };
        if ends.is_none() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        ends
    }

    /// Takes an empty pipe back.
    pub(super) fn give_back(&self, ends: Ends) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(ends);
        } else {
            drop(idle);
            self.close(ends);
        }
    }

    /// Closes a pipe, with whatever is in it.
    pub(super) fn close(&self, ends: Ends) {
        drop(ends);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How much may be received now by one direction.
    pub(super) fn allowance(&self) -> usize {
        BUDGET.saturating_sub(self.held.load(Ordering::Relaxed)).clamp(LEAST, CAPACITY)
    }

    /// So much was received, and is to be sent.
    pub(super) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much was sent, or is lost.
    pub(super) fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (output, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        if let Ok(capacity) = i32::try_from(CAPACITY) {
            // A smaller one does as well.
            let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(capacity));
        }
        Ok(Self { output, input })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_pipe_that_was_given_back_is_used_again_and_one_that_was_closed_makes_room() {
        let pipes = Pipes::new(2);
        let (first, second) = (pipes.take().unwrap(), pipes.take().unwrap());
        assert!(pipes.take().is_none());
        let number = first.input.as_raw_fd();
        pipes.give_back(first);
        assert_eq!(pipes.take().unwrap().input.as_raw_fd(), number);
        assert!(pipes.take().is_none());
        pipes.close(second);
        assert!(pipes.take().is_some());
    }

    #[test]
    fn what_may_be_received_shrinks_to_a_page_as_more_is_held() {
        let pipes = Pipes::new(0);
        assert_eq!(pipes.allowance(), CAPACITY);
        pipes.hold(BUDGET - LEAST - 1);
        assert_eq!(pipes.allowance(), LEAST + 1);
        pipes.hold(BUDGET);
        assert_eq!(pipes.allowance(), LEAST);
        pipes.let_go(2 * BUDGET - LEAST - 1);
        assert_eq!(pipes.allowance(), CAPACITY);
    }
}

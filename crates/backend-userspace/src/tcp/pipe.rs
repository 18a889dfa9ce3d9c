//! Pipes, through which `splice` moves bytes without this process seeing them.
//!
//! A direction of a connection has a pipe only while bytes are on their way, so that idle connections cost
//! none. Empty ones are kept for the next; one that still holds bytes is closed, as they are nobody else's.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

/// How much a pipe holds: enough for a receive window of a fast connection, little enough for a hundred.
/// Where the user has too many pages in pipes already (`fs.pipe-user-pages-soft`) it stays smaller.
pub(super) const CAPACITY: usize = 256 << 10;
/// How many idle pipes are kept.
const KEPT: usize = 64;

/// Pipes that nobody uses right now.
#[derive(Debug, Default)]
pub(crate) struct Pipes(Mutex<Vec<Ends>>);

#[derive(Debug)]
struct Ends {
    output: OwnedFd,
    input: OwnedFd,
}

/// A pipe in use.
#[derive(Debug)]
pub(super) struct Pipe<'a> {
    pipes: &'a Pipes,
    ends: Option<Ends>,
    /// How many bytes are in it.
    pub(super) held: usize,
}

impl Pipes {
    /// An empty pipe.
    pub(super) fn take(&self) -> io::Result<Pipe<'_>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let ends = kept.map_or_else(Ends::new, Ok)?;
        Ok(Pipe { pipes: self, ends: Some(ends), held: 0 })
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

impl Pipe<'_> {
    /// Where bytes go in.
    pub(super) fn input(&self) -> io::Result<&OwnedFd> {
        self.ends.as_ref().map(|ends| &ends.input).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Where they come out.
    pub(super) fn output(&self) -> io::Result<&OwnedFd> {
        self.ends.as_ref().map(|ends| &ends.output).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Pipe<'_> {
    fn drop(&mut self) {
        if self.held > 0 {
            return;
        }
        let mut kept = self.pipes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.extend(self.ends.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn an_empty_pipe_is_used_again_and_one_with_bytes_in_it_is_not() {
        let pipes = Pipes::default();
        let number = |pipe: &Pipe<'_>| pipe.input().unwrap().as_raw_fd();
        let first = pipes.take().unwrap();
        let reused = number(&first);
        drop(first);
        let mut second = pipes.take().unwrap();
        assert_eq!(number(&second), reused);
        second.held = 1;
        drop(second);
        assert!(pipes.0.lock().unwrap().is_empty());
    }
}

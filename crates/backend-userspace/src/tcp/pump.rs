//! Moves bytes between two connections until both sides have said all.
//!
//! Each direction ends on its own: the end of what one side sends becomes the end of what the other receives
//! (`shutdown`), while the way back stays open for as long as it is used.
//!
//! A side that breaks is noticed by both directions, whatever they wait for: a direction that waits for bytes looks
//! whether there is still somebody to give them to, and one that waits for room whether there is still somebody
//! who sent them. What a side said before it broke is passed on first; then the caller resets both.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use super::carrier::Carrier;
use super::pipe::Pipes;

/// How long a receiver may make those wait who passed on what a sender said that is gone.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Relays until both directions have ended.
///
/// # Errors
/// One of the connections broke; both should be reset.
pub(super) async fn both_ways(client: &TcpStream, endpoint: &TcpStream, pipes: &Pipes) -> io::Result<()> {
    let is_broken = AtomicBool::new(false);
    let way = |from, to| Way { from, to, pipes, is_broken: &is_broken };
    tokio::try_join!(way(client, endpoint).relay(), way(endpoint, client).relay())?;
    if is_broken.load(Ordering::Relaxed) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
}

/// One direction.
struct Way<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    pipes: &'a Pipes,
    /// Whether a receiver broke; what it sent before is still on its way back.
    is_broken: &'a AtomicBool,
}

/// What comes after the bytes that were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Nothing for now.
    Paused,
    /// Nothing ever.
    Ended,
    /// Whatever it is, nobody receives it.
    Unheard,
}

impl Way<'_> {
    /// # Errors
    /// The sender broke, and all it said was passed on, or its receiver was too slow.
    async fn relay(self) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                ready = self.from.readable() => ready?,
                () = broken(self.to) => {
                    self.give_up();
                    return Ok(());
                }
            }
            match self.move_all().await? {
                Flow::Paused => continue,
                Flow::Ended => self.end(),
                Flow::Unheard => self.give_up(),
            }
            return Ok(());
        }
    }

    /// Moves what there is to be read, and leaves nothing in between.
    async fn move_all(&self) -> io::Result<Flow> {
        let mut carrier = Carrier::new(self.pipes);
        loop {
            match carrier.fill(self.from) {
                Ok(0) => return Ok(Flow::Ended),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flow::Paused),
                Err(error) => return Err(error),
            }
            while !carrier.is_empty() {
                match carrier.empty(self.to) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room().await?,
                    Err(_) => return Ok(Flow::Unheard),
                }
            }
            // Two fast sides never have to wait for each other; others on this thread have.
            consume_budget().await;
        }
    }

    async fn wait_for_room(&self) -> io::Result<()> {
        tokio::select! {
            biased;
            ready = self.to.writable() => ready,
            () = broken(self.from) => timeout(LAST_WORDS, self.to.writable()).await?,
        }
    }

    /// The sender has said all.
    fn end(&self) {
        let is_broken = self.is_broken.load(Ordering::Relaxed);
        if is_broken || SockRef::from(self.to).shutdown(Shutdown::Write).is_err() {
            self.give_up();
        }
    }

    /// Nobody receives any more. The other direction ends by itself, since it receives from that side.
    fn give_up(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }
}

/// Returns once a connection is broken: reset, or given up by the kernel.
async fn broken(stream: &TcpStream) {
    // An error to wait for one is none less.
    let _ = stream.ready(Interest::ERROR).await;
}

#[cfg(test)]
mod tests;

//! Moves bytes between two connections until both directions have ended.
//!
//! Each direction ends independently: the end of what one side sends becomes the end of what the other receives
//! (`shutdown`), while the other direction stays open.
//!
//! Both directions notice a side that breaks: one that waits for bytes watches its receiver, and one that waits for space
//! watches its sender. What a side sent before it broke is passed on first; then the caller resets both.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use super::pipe::{Carrier, Pipes};

/// How long a receiver may take to accept what a sender that broke had sent before.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Relays until both directions have ended.
///
/// # Errors
/// One of the connections broke; both should be reset.
pub(super) async fn relay(client: &TcpStream, endpoint: &TcpStream, pipes: &Pipes) -> io::Result<()> {
    let is_broken = AtomicBool::new(false);
    let direction = |from, to| Direction { from, to, pipes, is_broken: &is_broken };
    tokio::try_join!(direction(client, endpoint).relay(), direction(endpoint, client).relay())?;
    if is_broken.load(Ordering::Relaxed) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
}

struct Direction<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    pipes: &'a Pipes,
    /// Whether a receiver broke. What it sent before may still be under way in the other direction.
    is_broken: &'a AtomicBool,
}

impl Direction<'_> {
    /// # Errors
    /// The sender broke, and all it sent was passed on, or its receiver was too slow.
    async fn relay(self) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                ready = self.from.readable() => ready?,
                () = broken(self.to) => break,
            }
            if self.move_available().await? {
                let is_broken = self.is_broken.load(Ordering::Relaxed);
                if is_broken || SockRef::from(self.to).shutdown(Shutdown::Write).is_err() {
                    break;
                }
                return Ok(());
            }
        }
        // The other direction ends by itself, since it receives from the side that broke.
        self.is_broken.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Moves all that can be read now. Returns whether this direction has ended.
    async fn move_available(&self) -> io::Result<bool> {
        let mut carrier = Carrier::new(self.pipes);
        loop {
            match carrier.fill(self.from) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            while !carrier.is_empty() {
                match carrier.empty(self.to) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_space().await?,
                    Err(_) => {
                        self.is_broken.store(true, Ordering::Relaxed);
                        return Ok(true);
                    }
                }
            }
            // Two fast sides never have to wait for each other, but other tasks of this thread would.
            consume_budget().await;
        }
    }

    async fn wait_for_space(&self) -> io::Result<()> {
        tokio::select! {
            biased;
            ready = self.to.writable() => ready,
            () = broken(self.from) => timeout(DRAIN_TIMEOUT, self.to.writable()).await?,
        }
    }
}

/// Returns once a connection is broken: reset, or given up by the kernel.
async fn broken(stream: &TcpStream) {
    // An error to wait for an error is an error too.
    let _ = stream.ready(Interest::ERROR).await;
}

#[cfg(test)]
mod tests;

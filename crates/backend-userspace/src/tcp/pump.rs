//! Moves bytes between two connections until both sides have said all.
//!
//! Each direction ends on its own: the end of what one side sends becomes the end of what the other receives
//! (`shutdown`), while the way back stays open for as long as it is used. An error in either direction ends
//! both, and the caller resets.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use nix::fcntl::{SpliceFFlags, splice};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use super::pipe::{CAPACITY, Pipe, Pipes};

/// How long to wait for somebody to give a pipe back where there are no descriptors for another.
const BREATH: Duration = Duration::from_millis(5);

/// Relays until both directions have ended.
///
/// # Errors
/// One of the connections broke; the other should be reset.
pub(super) async fn both_ways(client: &TcpStream, endpoint: &TcpStream, pipes: &Pipes) -> io::Result<()> {
    tokio::try_join!(one_way(client, endpoint, pipes), one_way(endpoint, client, pipes)).map(drop)
}

async fn one_way(from: &TcpStream, to: &TcpStream, pipes: &Pipes) -> io::Result<()> {
    loop {
        from.readable().await?;
        let Some(mut pipe) = take(pipes).await? else { continue };
        match fill_and_empty(from, to, &mut pipe).await? {
            Flow::Paused => {}
            Flow::Ended => return SockRef::from(to).shutdown(Shutdown::Write),
        }
    }
}

/// A pipe, or nothing after a moment where there are no descriptors left.
async fn take(pipes: &Pipes) -> io::Result<Option<Pipe<'_>>> {
    match pipes.take() {
        Ok(pipe) => Ok(Some(pipe)),
        Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) => {
            sleep(BREATH).await;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What comes after the bytes that were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Nothing for now.
    Paused,
    /// Nothing ever.
    Ended,
}

/// Moves what there is to be read, and leaves the pipe empty.
async fn fill_and_empty(from: &TcpStream, to: &TcpStream, pipe: &mut Pipe<'_>) -> io::Result<Flow> {
    loop {
        let read = from
            .try_io(Interest::READABLE, || Ok(splice(from, None, pipe.input()?, None, CAPACITY, flags())?));
        match read {
            Ok(0) => return Ok(Flow::Ended),
            Ok(count) => pipe.held = count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flow::Paused),
            Err(error) => return Err(error),
        }
        empty(pipe, to).await?;
        // Two fast sides never have to wait for each other; others on this thread have.
        consume_budget().await;
    }
}

async fn empty(pipe: &mut Pipe<'_>, to: &TcpStream) -> io::Result<()> {
    while pipe.held > 0 {
        let written =
            to.try_io(Interest::WRITABLE, || Ok(splice(pipe.output()?, None, to, None, pipe.held, flags())?));
        match written {
            Ok(count) => pipe.held -= count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

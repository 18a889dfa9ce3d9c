//! A connection that lasts, to see whether a change breaks it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use super::caller::{parse, read_line};
use super::{Answer, Caller, NetnsError, TrafficError, wait_until};

/// Between two lines: often enough to meet any change, seldom enough not to be noticed by it.
const REST: Duration = Duration::from_millis(10);

/// What became of a [`LongConnection`].
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// Lines that went there and came back.
    pub exchanged: u64,
    /// Why it broke, if it did.
    pub broken: Option<String>,
}

/// One TCP connection to an echo server on which lines go to and fro until it is closed.
#[derive(Debug)]
pub struct LongConnection {
    answer: Answer,
    shared: Arc<Shared>,
    thread: JoinHandle<Option<String>>,
}

#[derive(Debug, Default)]
struct Shared {
    exchanged: AtomicU64,
    stop: AtomicBool,
}

impl LongConnection {
    /// Connects and starts to exchange lines in the background.
    ///
    /// # Errors
    /// When there is no connection to begin with.
    pub fn open(caller: &Caller, to: SocketAddr) -> Result<Self, TrafficError> {
        let unanswered = |source| TrafficError::Unanswered { to, source };
        let mut socket = caller.namespace().run(|| caller.open_tcp(to))?.map_err(unanswered)?;
        socket.set_tcp_nodelay(true).map_err(unanswered)?;
        let answer = parse(to, &read_line(&mut socket).map_err(unanswered)?)?;
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || exchange(&mut socket, &shared).err().map(|error| error.to_string())
        });
        Ok(Self { answer, shared, thread })
    }

    /// Who is at the far end, and whom it sees.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Waits until this many more lines have come back: the connection works now.
    ///
    /// # Errors
    /// When `patience` runs out, as it does on a broken connection.
    pub fn wait_for_lines(&self, more: u64, patience: Duration) -> Result<(), NetnsError> {
        let exchanged = || self.shared.exchanged.load(Ordering::Relaxed);
        let goal = exchanged() + more;
        wait_until(&format!("{more} more lines have come back"), patience, || exchanged() >= goal)
    }

    /// Whether it broke already.
    pub fn is_broken(&self) -> bool {
        self.thread.is_finished()
    }

    /// Closes the connection and reports.
    pub fn close(self) -> StreamReport {
        self.shared.stop.store(true, Ordering::Relaxed);
        let broken = self.thread.join().unwrap_or_else(|_| Some("the thread panicked".into()));
        StreamReport { exchanged: self.shared.exchanged.load(Ordering::Relaxed), broken }
    }
}

/// Exchanges lines until stopped; each must come back as it went.
fn exchange(socket: &mut socket2::Socket, shared: &Shared) -> io::Result<()> {
    while !shared.stop.load(Ordering::Relaxed) {
        let line = format!("line {}\n", shared.exchanged.load(Ordering::Relaxed));
        socket.write_all(line.as_bytes())?;
        let echo = read_line(socket)?;
        if echo != line {
            return Err(io::Error::other(format!("sent {line:?}, got {echo:?}")));
        }
        shared.exchanged.fetch_add(1, Ordering::Relaxed);
        sleep(REST);
    }
    Ok(())
}

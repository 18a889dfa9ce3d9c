//! The number of the ruleset's state (`NFT_MSG_GETGEN`), asked for again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use portolan_netlink::{Message, MessageWriter, NetlinkSocket, Protocol, flag};

use super::notice::{FAMILY_HEADER, kind};

/// Between two questions: how exact the answer is.
const BETWEEN: Duration = Duration::from_micros(500);

/// Follows the number on a thread of its own.
pub(crate) struct Generation {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Commits>>,
}

/// What was committed while the number was followed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Commits {
    /// How many commits there were, anybody's.
    pub(crate) count: u32,
    /// When the last of them was seen.
    pub(crate) last: Option<Instant>,
}

impl Generation {
    /// Begins in the calling thread's namespace.
    pub(crate) fn follow() -> anyhow::Result<Self> {
        let mut socket = NetlinkSocket::open(Protocol::Netfilter)?;
        let first = number(&mut socket)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut known, mut last) = (first, None);
            while !stopped.load(Ordering::Relaxed) {
                let now = number(&mut socket)?;
                if now != known {
                    (known, last) = (now, Some(Instant::now()));
                }
                std::thread::sleep(BETWEEN);
            }
            Ok(Commits { count: known.wrapping_sub(first), last })
        });
        Ok(Self { stop, thread })
    }

    /// Ends, and tells what there was.
    pub(crate) fn end(self) -> anyhow::Result<Commits> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn number(socket: &mut NetlinkSocket) -> anyhow::Result<u32> {
    /// `NFT_MSG_GETGEN`, linux/netfilter/nf_tables.h
    const GET_GENERATION: u8 = 16;
    /// `NFTA_GEN_ID`
    const ID: u16 = 1;
    let fill = |message: &mut MessageWriter<'_>| {
        message.bytes(&[0; FAMILY_HEADER]);
    };
    let each = |found: &mut Option<u32>, message: &Message<'_>| {
        *found = message.attributes(FAMILY_HEADER).find_kind(ID).and_then(|id| id.as_be32()).or(*found);
    };
    socket
        .request(kind(GET_GENERATION), flag::ACK, fill, each)?
        .context("the kernel does not tell the generation")
}

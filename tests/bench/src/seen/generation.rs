//! The number of the ruleset's state (`NFT_MSG_GETGEN`), asked for again and again.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use portolan_netlink::{Message, MessageWriter, NetlinkSocket, Protocol, flag};

use super::Moment;
use super::notice::{FAMILY_HEADER, kind};
use crate::background::{Background, Wanted};

/// Between two questions: how exact the answer is.
const BETWEEN: Duration = Duration::from_micros(500);

/// Follows the number on its own thread.
pub(crate) struct Generation(Background<anyhow::Result<Commits>>);

/// What was committed while the number was followed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Commits {
    /// How many commits there were, anybody's.
    pub(crate) count: u32,
    /// The last of them.
    pub(crate) last: Option<Moment>,
}

impl Generation {
    /// Begins in the calling thread's namespace.
    pub(crate) fn follow() -> anyhow::Result<Self> {
        let mut socket = NetlinkSocket::open(Protocol::Netfilter)?;
        let first = number(&mut socket)?;
        Ok(Self(Background::start(move |wanted| follow(wanted, &mut socket, first))))
    }

    /// Ends, and tells what there was.
    pub(crate) fn end(self) -> anyhow::Result<Commits> {
        self.0.end()
    }
}

fn follow(wanted: &Wanted, socket: &mut NetlinkSocket, first: u32) -> anyhow::Result<Commits> {
    let (mut known, mut last) = (first, None);
    let mut asked_before = Instant::now();
    while wanted.goes_on() {
        let asked = Instant::now();
        let now = number(socket)?;
        if now != known {
            (known, last) = (now, Some(Moment { after: Some(asked_before), by: Instant::now() }));
        }
        asked_before = asked;
        std::thread::sleep(BETWEEN);
    }
    Ok(Commits { count: known.wrapping_sub(first), last })
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
        .context("the kernel does not report the generation")
}

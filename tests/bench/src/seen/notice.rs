//! The kernel's notifications of nftables commits.
//!
//! A commit's notices come after it, one for each object, and end with `NFT_MSG_NEWGEN`. An element of
//! a map that leads to an endpoint carries the endpoint's address as its data's first bytes, and one of
//! a VIP begins with the VIP: enough to tell whose change a commit was, without knowing the layout further.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use portolan_netlink::{Attribute, Message, MessageIter};

use super::Sight;

/// `NFNL_SUBSYS_NFTABLES`, linux/netfilter/nfnetlink.h
const SUBSYSTEM: u8 = 10;
/// `NFNLGRP_NFTABLES`, linux/netfilter/nfnetlink.h
const GROUP: u32 = 7;
/// Length of `struct nfgenmsg`, linux/netfilter/nfnetlink.h
pub(super) const FAMILY_HEADER: usize = 4;
/// `NFT_MSG_NEWSETELEM`, linux/netfilter/nf_tables.h, as those below.
const NEW_ELEMENT: u8 = 12;
/// `NFT_MSG_DELSETELEM`
const DELETE_ELEMENT: u8 = 14;
/// `NFT_MSG_NEWGEN`
const NEW_GENERATION: u8 = 15;
/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Room for the notices of a large commit, in bytes.
const ROOM: usize = 32 << 20;

/// The kind of an nftables message.
pub(super) const fn kind(message: u8) -> u16 {
    u16::from_be_bytes([SUBSYSTEM, message])
}

/// A socket that hears of commits.
pub(crate) struct Notices {
    socket: OwnedFd,
    buffer: Vec<u8>,
    pending: Commit,
}

/// What one commit did to elements.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Addresses that new elements lead to.
    pub(crate) leads: HashSet<Ipv4Addr>,
    /// Addresses that the keys of removed elements begin with.
    pub(crate) ends: HashSet<Ipv4Addr>,
}

impl Notices {
    /// Listens from now on, in the calling thread's namespace.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .context("no netlink socket")?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1 << (GROUP - 1)))
            .context("cannot listen to nftables")?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
        // Without the right to, the default must do.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM);
        Ok(Self { socket, buffer: vec![0; 1 << 20], pending: Commit::default() })
    }

    /// Waits for a commit that does what is waited for.
    pub(crate) fn wait(&mut self, vip: Ipv4Addr, sight: Sight) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Some((at, commits)) = self.next()? else { continue };
            let is_it = |commit: &Commit| match sight {
                Sight::Leads(endpoint) => commit.leads.contains(&endpoint),
                Sight::Ends => commit.ends.contains(&vip),
            };
            if commits.iter().any(is_it) {
                return Ok(at);
            }
        }
        anyhow::bail!("the kernel reports no commit in which {vip} comes to {sight:?}")
    }

    /// What the commits did that were made since the last look, all together.
    pub(crate) fn drain(&mut self) -> anyhow::Result<Commit> {
        let mut all = Commit::default();
        while let Some((_, commits)) = self.next()? {
            for commit in commits {
                all.leads.extend(commit.leads);
                all.ends.extend(commit.ends);
            }
        }
        Ok(all)
    }

    /// The commits whose end came with one read, and when it came; nothing when none came for a second.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<(Instant, Vec<Commit>)>> {
        let length = match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
            Ok(length) => length,
            // With ENOBUFS notices were lost: a caller that waits for one of them times out with an error.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => return Ok(None),
            Err(errno) => return Err(io::Error::from(errno)).context("cannot read the kernel's notices"),
        };
        let at = Instant::now();
        let mut ended = Vec::new();
        for message in MessageIter::new(&self.buffer[..length]) {
            if message.kind == kind(NEW_GENERATION) {
                ended.push(std::mem::take(&mut self.pending));
            } else {
                self.pending.note(&message);
            }
        }
        Ok(Some((at, ended)))
    }
}

impl Commit {
    /// Takes in a notice; others than those about elements say nothing here.
    fn note(&mut self, message: &Message<'_>) {
        /// `NFTA_SET_ELEM_LIST_ELEMENTS`
        const ELEMENTS: u16 = 3;
        /// `NFTA_SET_ELEM_KEY`
        const KEY: u16 = 1;
        /// `NFTA_SET_ELEM_DATA`
        const DATA: u16 = 2;
        let Some(elements) = message.attributes(FAMILY_HEADER).find_kind(ELEMENTS) else { return };
        for element in elements.nested() {
            let address = |part| element.nested().find_kind(part).and_then(|part| first_address(&part));
            if message.kind == kind(NEW_ELEMENT) {
                self.leads.extend(address(DATA));
            } else if message.kind == kind(DELETE_ELEMENT) {
                self.ends.extend(address(KEY));
            }
        }
    }
}

/// The first four bytes of a `NFTA_DATA_VALUE`; verdicts have none.
fn first_address(part: &Attribute<'_>) -> Option<Ipv4Addr> {
    /// `NFTA_DATA_VALUE`
    const VALUE: u16 = 1;
    let value = part.nested().find_kind(VALUE)?;
    value.value.first_chunk::<4>().copied().map(Ipv4Addr::from)
}

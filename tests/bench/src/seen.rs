//! When a change came into force, as seen from outside the proxy.
//!
//! * [`Notices`]: what the kernel reports of each nftables commit. Exact, with the element that came or went;
//!   but telling costs the commit itself something, because the kernel makes notifications only if a process listens.
//! * [`packet`]: connections to a VIP, one after the other, until one is led where only the new state leads.
//!   Needs nothing of the mode, and is as exact as a connection takes (some 50 µs).
//! * [`Generation`]: the number of the ruleset's state, asked for again and again. It costs a commit nothing,
//!   and tells that something was committed but not what: for loads.

mod generation;
mod notice;
pub(crate) mod packet;
mod record;

use std::net::Ipv4Addr;
use std::time::Instant;

use crate::mode::Mode;

pub(crate) use generation::Generation;
pub(crate) use notice::Notices;
pub(crate) use record::{Record, Recorded};

/// What is waited for at a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It leads to this endpoint.
    Leads(Ipv4Addr),
    /// It leads nowhere any more.
    Ends,
}

/// A commit, as far as questions can tell when it was: between two of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// When the last question began that was answered by the state before; none if the first was not.
    pub(crate) after: Option<Instant>,
    /// When the first answer had come that tells of the new state.
    pub(crate) by: Instant,
}

/// A way to see changes.
pub(crate) enum Way {
    Notices(Notices),
    Packets,
}

impl Way {
    /// The ways that suit a mode, the most exact first.
    pub(crate) fn of_mode(mode: &Mode) -> anyhow::Result<Vec<Self>> {
        let notices = mode.has_elements().then(Notices::listen).transpose()?.map(Self::Notices);
        Ok(notices.into_iter().chain([Self::Packets]).collect())
    }

    /// What is added to the names of figures seen this way; nothing where it is the mode's most exact.
    pub(crate) fn suffix(&self, mode: &Mode) -> &'static str {
        match self {
            Self::Packets if mode.has_elements() => " by packet",
            _ => "",
        }
    }

    /// Waits for what a change of `vip` that was just written comes to, and says when it was so.
    pub(crate) fn wait(&mut self, vip: Ipv4Addr, sight: Sight) -> anyhow::Result<Instant> {
        match self {
            Self::Notices(notices) => notices.wait(vip, sight),
            Self::Packets => packet::wait(vip, sight, packet::CLOSELY).map(|moment| moment.by),
        }
    }
}

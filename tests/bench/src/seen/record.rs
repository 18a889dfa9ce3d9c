//! When each change was programmed, recorded on its own thread.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::{Notices, Sight, packet};
use crate::background::Background;
use crate::mode::Mode;

/// A record in the making.
pub(crate) struct Record(Background<anyhow::Result<Recorded>>);

/// What was seen, and when for the first time.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    leads: HashMap<Ipv4Addr, Instant>,
    ends: HashMap<Ipv4Addr, Instant>,
}

impl Record {
    /// Of everything where the kernel reports, or else of where packets to one VIP are led.
    pub(crate) fn of_mode(mode: &Mode, vip: Ipv4Addr) -> anyhow::Result<Self> {
        if mode.has_elements() { Self::of_notices() } else { Ok(Self::of_packets(vip)) }
    }

    /// Of all that the kernel reports from now on.
    pub(crate) fn of_notices() -> anyhow::Result<Self> {
        let mut notices = Notices::listen()?;
        let record = move |recorded: &mut Recorded| {
            if let Some((at, commits)) = notices.next()? {
                for commit in commits {
                    recorded.note(at, commit.leads, commit.ends);
                }
            }
            Ok(())
        };
        Ok(Self::start(record))
    }

    fn of_packets(vip: Ipv4Addr) -> Self {
        Self::start(move |recorded| {
            let reached = packet::probe(vip).ok();
            recorded.note(Instant::now(), reached, None);
            Ok(())
        })
    }

    fn start(mut look: impl FnMut(&mut Recorded) -> anyhow::Result<()> + Send + 'static) -> Self {
        Self(Background::start(move |wanted| {
            let mut recorded = Recorded::default();
            while wanted.goes_on() {
                look(&mut recorded)?;
            }
            Ok(recorded)
        }))
    }

    /// Ends it.
    pub(crate) fn end(self) -> anyhow::Result<Recorded> {
        self.0.end()
    }
}

impl Recorded {
    fn note(
        &mut self,
        at: Instant,
        leads: impl IntoIterator<Item = Ipv4Addr>,
        ends: impl IntoIterator<Item = Ipv4Addr>,
    ) {
        for address in leads {
            self.leads.entry(address).or_insert(at);
        }
        for address in ends {
            self.ends.entry(address).or_insert(at);
        }
    }

    /// When a change of `vip` first came to this, if that was seen.
    pub(crate) fn when(&self, vip: Ipv4Addr, sight: Sight) -> Option<Instant> {
        match sight {
            Sight::Leads(endpoint) => self.leads.get(&endpoint),
            Sight::Ends => self.ends.get(&vip),
        }
        .copied()
    }
}

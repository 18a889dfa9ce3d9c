//! What has been reported, and how much of it the server knows.
//!
//! Pure: times are handed in, and sending is somebody else's. Entries are few, so every
//! question walks all of them.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Report;

/// Entries kept, sent or not. Far more than a node has to say in a few minutes, and at
/// most some 100 KiB.
const CAPACITY: usize = 64;

/// How long a count may grow before the server hears of it.
const SERIES: Duration = Duration::from_secs(300);

/// How long an entry is remembered after it was reported last; after that an equal report
/// is an Event of its own. As in Kubernetes' own clients.
const MEMORY: Duration = Duration::from_secs(360);

/// Entries that differ in nothing but their note; further ones count as the last of them.
/// Otherwise a note that names a port or a time would make an Event each time.
const NOTES: usize = 4;

/// Everything reported of late.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In the order of the first report.
    entries: VecDeque<Entry>,
    /// Nanoseconds since 1970 that the last entry is called after.
    last_stamp: i128,
}

/// One Event in the making, or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) report: Report,
    /// Different for each entry; part of the Event's name.
    pub(super) stamp: i128,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// How often it was reported.
    pub(super) count: u32,
    /// Whether the server has an Event of it.
    pub(super) is_known: bool,
    heard: Instant,
    /// What the server was last told, or would not hear.
    told: Option<Told>,
    /// Tries that ended with an error of the server.
    tries: u32,
    /// Not to be sent before this time.
    put_aside: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    count: u32,
    at: Instant,
}

/// Whether a count may wait until it is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// It may.
    None,
    /// The process ends.
    Last,
}

/// What there is to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// This, now.
    Now(Box<Entry>),
    /// Something, at this time.
    At(Instant),
    /// Nothing.
    Nothing,
}

impl Entry {
    fn is_like(&self, report: &Report) -> bool {
        let (a, b) = (&self.report, report);
        (a.kind, a.reason, a.action, &a.regarding) == (b.kind, b.reason, b.action, &b.regarding)
    }

    /// When the server should hear of it; nothing when it has.
    fn due(&self, haste: Haste) -> Option<Instant> {
        let due = self.news(haste)?;
        Some(self.put_aside.map_or(due, |until| due.max(until)))
    }

    fn news(&self, haste: Haste) -> Option<Instant> {
        match &self.told {
            None => Some(self.heard),
            Some(told) if told.count == self.count => None,
            Some(told) if haste == Haste::Last => Some(told.at),
            Some(told) => Some(told.at + SERIES),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.due(Haste::None).is_none() && now.saturating_duration_since(self.heard) > MEMORY
    }
}

impl Ledger {
    /// Takes a report in; how many others were given up for it.
    pub(super) fn take(&mut self, report: Report, now: Instant, time: Timestamp) -> usize {
        self.entries.retain(|entry| !entry.is_over(now));
        if let Some(entry) = self.same(&report) {
            entry.count = entry.count.saturating_add(1);
            (entry.last, entry.heard) = (time, now);
            return 0;
        }
        let given_up = if self.entries.len() >= CAPACITY { self.make_room() } else { 0 };
        // Two reports of one moment must not have one name.
        self.last_stamp = time.as_nanosecond().max(self.last_stamp + 1);
        self.entries.push_back(Entry {
            report,
            stamp: self.last_stamp,
            first: time,
            last: time,
            count: 1,
            is_known: false,
            heard: now,
            told: None,
            tries: 0,
            put_aside: None,
        });
        given_up
    }

    /// The entry that `report` counts with.
    fn same(&mut self, report: &Report) -> Option<&mut Entry> {
        let alike = self.entries.iter().enumerate().filter(|(_, entry)| entry.is_like(report));
        let alike: Vec<_> = alike.map(|(place, entry)| (place, entry.report.note == report.note)).collect();
        let equal = alike.iter().find(|(_, is_equal)| *is_equal);
        let place = equal.or(alike.get(NOTES - 1..).and_then(<[_]>::last))?.0;
        self.entries.get_mut(place)
    }

    /// Forgets the oldest entry that the server knows, or else the oldest; how many reports are lost.
    fn make_room(&mut self) -> usize {
        let known = self.entries.iter().position(|entry| entry.due(Haste::Last).is_none());
        let lost = self.entries.remove(known.unwrap_or(0));
        usize::from(lost.is_some() && known.is_none())
    }

    /// What to send next.
    pub(super) fn due(&self, now: Instant, haste: Haste) -> Due {
        let next = self.entries.iter().filter_map(|entry| Some((entry.due(haste)?, entry)));
        // The first of those that are equally due, so what came first is sent first.
        match next.min_by_key(|(at, _)| (*at).max(now)) {
            Some((at, entry)) if at <= now => Due::Now(Box::new(entry.clone())),
            Some((at, _)) => Due::At(at),
            None => Due::Nothing,
        }
    }

    /// Takes in that the server has an Event of `sent` now.
    pub(super) fn delivered(&mut self, sent: &Entry, now: Instant) {
        self.settle(sent, now);
        if let Some(entry) = self.entry(sent) {
            entry.is_known = true;
        }
    }

    /// Takes in that the server does not want an Event of `sent`, nor will in a while.
    pub(super) fn turned_down(&mut self, sent: &Entry, now: Instant) {
        self.settle(sent, now);
    }

    /// Takes in that the server could not take `sent`; how often that has happened.
    pub(super) fn failed(&mut self, sent: &Entry) -> u32 {
        self.entry(sent).map_or(0, |entry| {
            entry.tries += 1;
            entry.tries
        })
    }

    fn settle(&mut self, sent: &Entry, now: Instant) {
        if let Some(entry) = self.entry(sent) {
            entry.told = Some(Told { count: sent.count, at: now });
            (entry.tries, entry.put_aside) = (0, None);
        }
    }

    /// Keeps `sent` for another try at this time.
    pub(super) fn put_aside(&mut self, sent: &Entry, until: Instant) {
        if let Some(entry) = self.entry(sent) {
            entry.put_aside = Some(until);
        }
    }

    /// The entry that was sent, unless it has been given up meanwhile.
    fn entry(&mut self, sent: &Entry) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.stamp == sent.stamp)
    }
}

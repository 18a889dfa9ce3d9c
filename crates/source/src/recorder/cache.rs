//! The Events that were reported, and which of them the server has.
//!
//! Pure: times are parameters, and the caller sends. There are few entries, so every operation walks all of them.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Report;

/// Entries kept, sent or not. Far more than a node reports in a few minutes, and at most some 100 KiB.
const CAPACITY: usize = 64;

/// The interval in which a growing count is sent.
const SERIES: Duration = Duration::from_secs(300);

/// How long an entry is kept after it was last reported; after that an equal report is a new Event. As in
/// Kubernetes' own clients.
const KEPT: Duration = Duration::from_secs(360);

/// Entries that differ in nothing but their note; further ones count as the last of them. Otherwise a note with a port
/// or a time would make an Event each time.
const MAX_NOTES: usize = 4;

/// The reports of the last minutes.
#[derive(Debug, Default)]
pub(super) struct EventCache {
    /// In the order of the first report.
    entries: VecDeque<Entry>,
    /// Nanoseconds since 1970 in the name of the last entry.
    last_stamp: i128,
}

/// One Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) report: Report,
    /// Different for each entry; part of the Event's name.
    pub(super) stamp: i128,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// How often it was reported.
    pub(super) count: u32,
    /// Whether the server has it.
    pub(super) is_created: bool,
    last_reported: Instant,
    /// The count that the server last received, or rejected for good, and when.
    settled: Option<(u32, Instant)>,
    /// Attempts that the server rejected.
    attempts: u32,
    /// Not to be sent before this time.
    not_before: Option<Instant>,
}

impl Entry {
    fn is_like(&self, report: &Report) -> bool {
        let (a, b) = (&self.report, report);
        (a.kind, a.reason, a.action, &a.regarding) == (b.kind, b.reason, b.action, &b.regarding)
    }

    /// When to send it, if it has not been; a last count is sent `at_once`.
    fn due(&self, at_once: bool) -> Option<Instant> {
        let due = match self.settled {
            None => self.last_reported,
            Some((count, _)) if count == self.count => return None,
            Some((_, at)) if at_once => at,
            Some((_, at)) => at + SERIES,
        };
        Some(self.not_before.map_or(due, |until| due.max(until)))
    }

    fn is_outdated(&self, now: Instant) -> bool {
        self.due(false).is_none() && now.saturating_duration_since(self.last_reported) > KEPT
    }
}

impl EventCache {
    /// Adds a report. Returns how many others are dropped for it.
    pub(super) fn add(&mut self, report: Report, now: Instant, time: Timestamp) -> usize {
        self.entries.retain(|entry| !entry.is_outdated(now));
        if let Some(entry) = self.equal(&report) {
            entry.count = entry.count.saturating_add(1);
            (entry.last, entry.last_reported) = (time, now);
            return 0;
        }
        let dropped = if self.entries.len() >= CAPACITY { self.drop_oldest() } else { 0 };
        // Two reports of one moment must not have the same name.
        self.last_stamp = time.as_nanosecond().max(self.last_stamp + 1);
        self.entries.push_back(Entry {
            report,
            stamp: self.last_stamp,
            first: time,
            last: time,
            count: 1,
            is_created: false,
            last_reported: now,
            settled: None,
            attempts: 0,
            not_before: None,
        });
        dropped
    }

    /// The entry that `report` counts with.
    fn equal(&mut self, report: &Report) -> Option<&mut Entry> {
        let alike = self.entries.iter().enumerate().filter(|(_, entry)| entry.is_like(report));
        let alike: Vec<_> = alike.map(|(index, entry)| (index, entry.report.note == report.note)).collect();
        let equal = alike.iter().find(|(_, is_equal)| *is_equal);
        let index = equal.or(alike.get(MAX_NOTES - 1..).and_then(<[_]>::last))?.0;
        self.entries.get_mut(index)
    }

    /// Drops the oldest entry that the server has, or else the oldest. Returns how many reports are lost.
    fn drop_oldest(&mut self) -> usize {
        let settled = self.entries.iter().position(|entry| entry.due(true).is_none());
        let dropped = self.entries.remove(settled.unwrap_or(0));
        usize::from(dropped.is_some() && settled.is_none())
    }

    /// The next entry to send, and when; a last count is sent `at_once`.
    pub(super) fn next(&self, now: Instant, at_once: bool) -> Option<(Instant, &Entry)> {
        let due = self.entries.iter().filter_map(|entry| Some((entry.due(at_once)?, entry)));
        // The first of those that are due already, so that the order of reports is kept.
        due.min_by_key(|(at, _)| (*at).max(now))
    }

    /// Notes that the server has an Event of `sent` now.
    pub(super) fn created(&mut self, sent: &Entry, now: Instant) {
        self.settle(sent, now);
        if let Some(entry) = self.entry(sent) {
            entry.is_created = true;
        }
    }

    /// Notes that `sent` is not to be sent again with this count.
    pub(super) fn settle(&mut self, sent: &Entry, now: Instant) {
        if let Some(entry) = self.entry(sent) {
            entry.settled = Some((sent.count, now));
            (entry.attempts, entry.not_before) = (0, None);
        }
    }

    /// Notes that the server rejected `sent`. Returns how often it has.
    pub(super) fn failed(&mut self, sent: &Entry) -> u32 {
        self.entry(sent).map_or(0, |entry| {
            entry.attempts += 1;
            entry.attempts
        })
    }

    /// Keeps `sent` for another attempt at this time.
    pub(super) fn postpone(&mut self, sent: &Entry, until: Instant) {
        if let Some(entry) = self.entry(sent) {
            entry.not_before = Some(until);
        }
    }

    /// The entry that was sent, unless it has been dropped in the meantime.
    fn entry(&mut self, sent: &Entry) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.stamp == sent.stamp)
    }
}

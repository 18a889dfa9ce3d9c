//! What counts together, and when it is sent.

use std::collections::HashMap;

use jiff::Timestamp;
use proptest::prelude::*;
use tokio::time::Instant;

use super::super::cache::{Entry, EventCache};
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A cache with a clock that a test sets.
struct Day {
    cache: EventCache,
    start: Instant,
    now: Instant,
}

impl Day {
    fn new() -> Self {
        let now = Instant::now();
        Self { cache: EventCache::default(), start: now, now }
    }

    fn report(&mut self, report: Report) -> usize {
        let time = Timestamp::UNIX_EPOCH + (self.now - self.start);
        self.cache.add(report, self.now, time)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn due(&self) -> Option<Entry> {
        self.next(false).filter(|(at, _)| *at <= self.now).map(|(_, entry)| entry)
    }

    fn next(&self, at_once: bool) -> Option<(Instant, Entry)> {
        self.cache.next(self.now, at_once).map(|(at, entry)| (at, entry.clone()))
    }

    /// Sends all that is due; what it was about, and how often it had happened.
    fn send(&mut self) -> Vec<(String, u32, bool)> {
        let mut sent = Vec::new();
        while let Some(entry) = self.due() {
            self.cache.created(&entry, self.now);
            sent.push((entry.report.note.clone(), entry.count, entry.is_created));
        }
        sent
    }
}

fn note(note: &str) -> Report {
    unheard("web", note)
}

fn sent(note: &str, count: u32, is_created: bool) -> (String, u32, bool) {
    (note.to_owned(), count, is_created)
}

#[test]
fn a_count_is_sent_every_five_minutes_and_only_if_it_grew() {
    let mut day = Day::new();
    let mut told = Vec::new();
    for minute in 0..30 {
        if minute < 12 {
            day.report(note("a"));
        }
        told.extend(day.send().into_iter().map(|(_, count, is_created)| (minute, count, is_created)));
        day.pass(MINUTE);
    }
    assert_eq!(told, [(0, 1, false), (5, 6, true), (10, 11, true), (15, 12, true)]);
}

#[test]
fn a_report_after_a_long_pause_is_a_new_event() {
    let mut day = Day::new();
    day.report(note("a"));
    let first = day.due().unwrap().stamp;
    day.send();
    day.pass(MINUTE * 6);
    day.report(note("a"));
    assert_eq!(day.send(), [sent("a", 2, true)], "six minutes are not long");
    day.pass(MINUTE * 6 + Duration::from_millis(1));
    day.report(note("a"));
    assert_ne!(day.due().unwrap().stamp, first);
    assert_eq!(day.send(), [sent("a", 1, false)]);
}

#[test]
fn unsent_reports_are_kept_regardless_of_their_age() {
    let mut day = Day::new();
    day.report(note("a"));
    day.pass(MINUTE * 600);
    day.report(note("b"));
    assert_eq!(day.send(), [sent("a", 1, false), sent("b", 1, false)]);
}

#[test]
fn reports_that_differ_only_in_their_note_are_four_events_at_most() {
    let mut day = Day::new();
    for number in 0..10 {
        day.report(note(&number.to_string()));
    }
    day.report(unheard("other", "x"));
    let expected = [
        sent("0", 1, false),
        sent("1", 1, false),
        sent("2", 1, false),
        sent("3", 7, false),
        sent("x", 1, false),
    ];
    assert_eq!(day.send(), expected);
}

#[test]
fn names_differ_even_if_the_clock_stops_or_runs_backwards() {
    let mut day = Day::new();
    for service in ["a", "b"] {
        day.report(unheard(service, ""));
    }
    day.cache.add(unheard("c", ""), day.now, Timestamp::UNIX_EPOCH - MINUTE);
    let mut stamps = Vec::new();
    while let Some(entry) = day.due() {
        stamps.push(entry.stamp);
        day.cache.created(&entry, day.now);
    }
    assert_eq!(stamps, [1, 2, 3]);
}

#[test]
fn sent_events_are_dropped_first() {
    let mut day = Day::new();
    day.report(unheard("old", ""));
    day.pass(MINUTE);
    for number in 0..62 {
        day.report(unheard(&number.to_string(), ""));
    }
    let old = day.due().unwrap();
    day.report(unheard("fresh", ""));
    assert_eq!(day.report(unheard("new", "")), 1, "nothing is known, so something is lost");
    day.cache.created(&old, day.now);
    let next = day.due().unwrap();
    day.cache.created(&next, day.now);
    assert_eq!(day.report(unheard("newer", "")), 0);
}

#[test]
fn a_rejected_report_is_kept_like_a_sent_one() {
    let mut day = Day::new();
    day.report(note("a"));
    let entry = day.due().unwrap();
    day.cache.settle(&entry, day.now);
    day.report(note("a"));
    assert_eq!(day.send(), []);
    day.pass(MINUTE * 5);
    assert_eq!(day.send(), [sent("a", 2, false)], "the server may take it by now");
}

#[test]
fn at_the_end_counts_are_sent_at_once() {
    let mut day = Day::new();
    day.report(note("a"));
    day.send();
    day.report(note("a"));
    assert_eq!(day.due(), None);
    assert!(matches!(day.next(true), Some((at, entry)) if at <= day.now && entry.count == 2));
    assert!(matches!(day.next(false), Some((at, _)) if at == day.now + MINUTE * 5));
}

/// What may happen to a cache.
#[derive(Debug, Clone)]
enum Step {
    /// A report about a Service with a note, both out of a few.
    Report(u8, u8),
    /// Seconds go by.
    Pass(u32),
    /// The server takes what is due first.
    Deliver,
    /// It cannot at present.
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8, 0..7_u8).prop_map(|(service, note)| Step::Report(service, note)),
        2 => (0..600_u32).prop_map(Step::Pass),
        3 => Just(Step::Deliver),
        1 => Just(Step::Fail),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_reports_is_lost_or_sent_twice(steps in prop::collection::vec(step(), 0..120)) {
        let mut day = Day::new();
        let mut told: HashMap<i128, u32> = HashMap::new();
        let mut reports = 0;
        for step in steps {
            match step {
                Step::Report(service, text) => {
                    prop_assert_eq!(day.report(unheard(&service.to_string(), &text.to_string())), 0);
                    reports += 1;
                }
                Step::Pass(seconds) => day.pass(Duration::from_secs(seconds.into())),
                Step::Deliver => {
                    if let Some(entry) = day.due() {
                        prop_assert_eq!(entry.is_created, told.contains_key(&entry.stamp));
                        let before = told.insert(entry.stamp, entry.count).unwrap_or_default();
                        prop_assert!(entry.count > before, "nothing new in {:?}", entry);
                        day.cache.created(&entry, day.now);
                    }
                }
                Step::Fail => {
                    if let Some(entry) = day.due() {
                        day.cache.failed(&entry);
                    }
                }
            }
        }
        while let Some((at, entry)) = day.next(true) {
            prop_assert!(at <= day.now);
            day.cache.created(&entry, day.now);
            told.insert(entry.stamp, entry.count);
        }
        prop_assert_eq!(told.values().sum::<u32>(), reports);
    }
}

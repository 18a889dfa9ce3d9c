//! CPU time by thread, in the format of pprof (profile.proto of google/pprof).
//!
//! Each thread name is a function that calls nothing, so `top` and graphs list names; the
//! number of a thread is a label, by which `-tagfocus` and `-tags` tell apart those that
//! share a name.

mod proto;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};

use super::threads::{self, Thread};
use proto::Message;

/// The pause between two looks. What a thread does after the last one before its end is lost.
const LOOK: Duration = Duration::from_millis(100);

/// How much CPU time each thread used in some span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    started: SystemTime,
    took: Duration,
    threads: BTreeMap<u32, Usage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Usage {
    name: String,
    /// CPU time at the first look, in nanoseconds.
    first: u64,
    /// CPU time at the last look.
    last: u64,
}

impl Profile {
    /// Watches the threads of this process, as told below `proc`, for as long as `span`.
    pub(crate) async fn take(proc: &Path, span: Duration) -> Self {
        let begin = Instant::now();
        let mut profile = Self { started: SystemTime::now(), took: Duration::ZERO, threads: BTreeMap::new() };
        for thread in threads::list(proc) {
            let Thread { id, name, cpu, .. } = thread;
            profile.threads.insert(id, Usage { name, first: cpu, last: cpu });
        }
        while profile.took < span {
            sleep_until(begin + (profile.took + LOOK).min(span)).await;
            profile.look(threads::list(proc));
            profile.took = begin.elapsed();
        }
        profile
    }

    /// A thread that was not there at first has used all its time since.
    fn look(&mut self, threads: Vec<Thread>) {
        for Thread { id, name, cpu, .. } in threads {
            let usage = self.threads.entry(id).or_insert(Usage { name: String::new(), first: 0, last: 0 });
            // A thread may give itself a name after it has started.
            usage.name = name;
            usage.last = cpu;
        }
    }

    /// The bytes that `go tool pprof` reads.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let names: BTreeSet<&str> = self.threads.values().map(|usage| usage.name.as_str()).collect();
        let mut strings = Strings::default();
        let (cpu, nanoseconds) = (strings.number("cpu"), strings.number("nanoseconds"));
        let mut profile = Message::default();
        // `ValueType`: type and unit.
        let cpu_time = Message::of([(1, cpu), (2, nanoseconds)]);
        profile.message(field::SAMPLE_TYPE, &cpu_time);
        for (id, usage) in &self.threads {
            let used = usage.last.saturating_sub(usage.first);
            if let Some(at) = names.iter().position(|name| *name == usage.name).filter(|_| used > 0) {
                let thread = label(strings.number("thread"), u64::from(*id));
                profile.message(field::SAMPLE, &sample(at as u64 + 1, used, &thread));
            }
        }
        for (number, name) in (1..).zip(&names) {
            profile.message(field::LOCATION, &location(number));
            profile.message(field::FUNCTION, &function(number, strings.number(name)));
        }
        for text in &strings.0 {
            profile.bytes(field::STRING_TABLE, text.as_bytes());
        }
        profile.number(field::TIME, nanos(self.started.duration_since(UNIX_EPOCH).unwrap_or_default()));
        profile.number(field::DURATION, nanos(self.took));
        profile.message(field::PERIOD_TYPE, &cpu_time);
        profile.number(field::PERIOD, 1);
        profile.finish()
    }
}

/// Fields of `Profile`. Numbers here and below are those of profile.proto.
mod field {
    pub(super) const SAMPLE_TYPE: u64 = 1;
    pub(super) const SAMPLE: u64 = 2;
    pub(super) const LOCATION: u64 = 4;
    pub(super) const FUNCTION: u64 = 5;
    pub(super) const STRING_TABLE: u64 = 6;
    /// Nanoseconds since 1970.
    pub(super) const TIME: u64 = 9;
    /// Nanoseconds.
    pub(super) const DURATION: u64 = 10;
    pub(super) const PERIOD_TYPE: u64 = 11;
    pub(super) const PERIOD: u64 = 12;
}

/// `Sample`: location, value and label.
fn sample(location: u64, value: u64, label: &Message) -> Message {
    let mut sample = Message::of([(1, location), (2, value)]);
    sample.message(3, label);
    sample
}

/// `Label`: a string as key, and a number as value.
fn label(key: u64, number: u64) -> Message {
    Message::of([(1, key), (3, number)])
}

/// `Location` with a `Line` that names the function of the same number.
fn location(number: u64) -> Message {
    let mut location = Message::of([(1, number)]);
    location.message(4, &Message::of([(1, number)]));
    location
}

/// `Function`: number, name, and the name as the system knows it.
fn function(number: u64, name: u64) -> Message {
    Message::of([(1, number), (2, name), (3, name)])
}

/// In 64 bits, as the format wants them, which last for some 580 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The table of strings, which begins with the empty one.
struct Strings(Vec<String>);

impl Default for Strings {
    fn default() -> Self {
        Self(vec![String::new()])
    }
}

impl Strings {
    /// Where `text` stands in the table; puts it there if it is new.
    fn number(&mut self, text: &str) -> u64 {
        let at = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        at as u64
    }
}

#[cfg(test)]
mod tests;

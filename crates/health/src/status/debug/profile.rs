//! CPU time by thread, in the format of pprof (profile.proto of google/pprof).
//!
//! Each thread name is a function without callees, so `top` and graphs list names. The thread id is a label, by which
//! `-tagfocus` and `-tags` distinguish threads of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};

use super::threads::{self, Thread};

/// The pause between two readings. The CPU time of a thread between its last reading and its end is lost.
const INTERVAL: Duration = Duration::from_millis(100);

/// The CPU time of each thread in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    started: SystemTime,
    took: Duration,
    threads: BTreeMap<u32, Usage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Usage {
    name: String,
    /// CPU time at the first reading, in nanoseconds.
    first: u64,
    /// CPU time at the last reading.
    last: u64,
}

impl Profile {
    /// Reads the threads of this process below `proc` for `span`.
    pub(crate) async fn take(proc: &Path, span: Duration) -> Self {
        let begin = Instant::now();
        let mut profile = Self { started: SystemTime::now(), took: Duration::ZERO, threads: BTreeMap::new() };
        for thread in threads::list(proc) {
            let Thread { id, name, cpu, .. } = thread;
            profile.threads.insert(id, Usage { name, first: cpu, last: cpu });
        }
        while profile.took < span {
            sleep_until(begin + (profile.took + INTERVAL).min(span)).await;
            profile.add(threads::list(proc));
            profile.took = begin.elapsed();
        }
        profile
    }

    /// Adds a reading. All time of a thread that started later belongs to the profile.
    fn add(&mut self, threads: Vec<Thread>) {
        for Thread { id, name, cpu, .. } in threads {
            let usage = self.threads.entry(id).or_insert(Usage { name: String::new(), first: 0, last: 0 });
            // A thread may give itself a name after it has started.
            usage.name = name;
            usage.last = cpu;
        }
    }

    /// The bytes that `go tool pprof` reads.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // The first must be empty.
        let mut strings = vec![String::new()];
        let mut index = |text: &str| {
            let known = strings.iter().position(|known| known == text).unwrap_or(strings.len());
            if known == strings.len() {
                strings.push(text.to_owned());
            }
            known as u64
        };
        let mut profile = Message::default();
        // `ValueType`: type and unit.
        let cpu_time = Message::of([(1, index("cpu")), (2, index("nanoseconds"))]);
        profile.message(field::SAMPLE_TYPE, &cpu_time);
        let mut names = BTreeSet::new();
        for (id, usage) in self.threads.iter().filter(|(_, usage)| usage.last > usage.first) {
            let name = index(&usage.name);
            names.insert(name);
            // `Label`: key and number. `Sample`: location, value and label.
            let label = Message::of([(1, index("thread")), (3, u64::from(*id))]);
            let sample = Message::of([(1, name + 1), (2, usage.last - usage.first)]);
            profile.message(field::SAMPLE, &sample.with(3, &label));
        }
        for name in names {
            // `Location`: number, and a `Line` with the function of the same number, which must not be 0.
            let line = Message::of([(1, name + 1)]);
            profile.message(field::LOCATION, &Message::of([(1, name + 1)]).with(4, &line));
            // `Function`: number, name, and the name as the system knows it.
            profile.message(field::FUNCTION, &Message::of([(1, name + 1), (2, name), (3, name)]));
        }
        for text in &strings {
            profile.bytes(field::STRING_TABLE, text.as_bytes());
        }
        profile.number(field::TIME, nanos(self.started.duration_since(UNIX_EPOCH).unwrap_or_default()));
        profile.number(field::DURATION, nanos(self.took));
        profile.message(field::PERIOD_TYPE, &cpu_time);
        profile.number(field::PERIOD, 1);
        profile.0
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

/// A message of protocol buffers under construction.
#[derive(Debug, Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    /// A message of numbers.
    fn of<const N: usize>(fields: [(u64, u64); N]) -> Self {
        let mut message = Self::default();
        for (field, value) in fields {
            message.number(field, value);
        }
        message
    }

    /// Adds a number; an absent one means zero.
    fn number(&mut self, field: u64, value: u64) {
        if value != 0 {
            // Wire type 0: a number in groups of 7 bits.
            self.varint(field << 3);
            self.varint(value);
        }
    }

    /// Adds a message as a part of this one.
    fn message(&mut self, field: u64, part: &Self) {
        self.bytes(field, &part.0);
    }

    /// The message with another one as a part.
    fn with(mut self, field: u64, part: &Self) -> Self {
        self.message(field, part);
        self
    }

    /// Adds text or bytes.
    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        // Wire type 2: length, then content.
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }
}

/// Nanoseconds in 64 bits, enough for 580 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

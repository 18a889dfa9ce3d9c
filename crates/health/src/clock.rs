//! Time, so that tests can make their own.

use std::time::{Instant, SystemTime};

/// One point in time on both clocks: lateness is measured on the one that never
/// jumps, timestamps are shown from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// On the clock that only goes forward.
    pub monotonic: Instant,
    /// On the calendar.
    pub wall: SystemTime,
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Moment;
}

/// The host's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment { monotonic: Instant::now(), wall: SystemTime::now() }
    }
}

//! When to try again after failures in a row: delays of the shared back-off, by what the backend says of the failure.

use std::time::Duration;

use portolan_core::backend::Retry;
use portolan_core::retry;

/// After the first failure. Long against a netlink round trip, so that a kernel that
/// is short of memory gets a moment; short against what people notice.
const FIRST: Duration = Duration::from_millis(100);

/// How soon a new change may cause an attempt before its time: it may be what helps,
/// so it should not wait for long, and one attempt a second hurts nothing.
const SOONEST: Duration = Duration::from_secs(1);

/// Random part of a delay, so that two families which fail for one reason do not keep failing at the same moment.
const JITTER: f64 = 0.2;

/// Doubling delays, up to a longest one.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    delays: retry::Backoff,
    longest: Duration,
    /// A number from 0 up to 1.
    chance: fn() -> f64,
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay {
    /// If nothing happens.
    pub(crate) retry: Duration,
    /// At the earliest, if something new comes in.
    pub(crate) floor: Duration,
}

impl Backoff {
    /// Starts from the beginning.
    pub(crate) fn new(longest: Duration, chance: fn() -> f64) -> Self {
        Self { delays: retry::Backoff::new(FIRST, longest, 1.0 - JITTER..1.0 + JITTER), longest, chance }
    }

    /// From now on no delay is longer than `longest`.
    pub(crate) fn limit(&mut self, longest: Duration) {
        self.longest = longest;
        self.delays.set_longest(longest);
    }

    /// The delay after one more failure, after which this helps.
    pub(crate) fn after(&mut self, retry: Retry) -> Delay {
        match retry {
            Retry::Never => self.give_up(),
            Retry::SameChanges => self.queue(),
            Retry::Unchanged | Retry::CompareAll => self.fail(),
        }
    }

    /// The delay after one more failure.
    pub(crate) fn fail(&mut self) -> Delay {
        let retry = self.delays.fail((self.chance)());
        Delay { retry, floor: retry.min(SOONEST) }
    }

    /// The delay while another process holds what we need. It lets go when it ends, as the
    /// old proxy does in an upgrade, and then nothing should lie idle for long.
    pub(crate) fn queue(&mut self) -> Delay {
        let Delay { retry, floor } = self.fail();
        Delay { retry: retry.min(SOONEST), floor }
    }

    /// The delay after a failure that no retry is expected to cure.
    pub(crate) fn give_up(&self) -> Delay {
        Delay { retry: self.longest, floor: self.longest }
    }

    /// Forgets all failures.
    pub(crate) fn reset(&mut self) {
        self.delays.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn millis(backoff: &mut Backoff) -> (u128, u128) {
        let delay = backoff.fail();
        (delay.retry.as_millis(), delay.floor.as_millis())
    }

    #[test]
    fn delays_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(LONGEST, || 0.5);
        let delays: Vec<_> = (0..11).map(|_| millis(&mut backoff).0).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(millis(&mut backoff), (100, 100));
    }

    #[test]
    fn a_new_change_waits_for_a_second_at_most() {
        let mut backoff = Backoff::new(LONGEST, || 0.5);
        let floors: Vec<_> = (0..6).map(|_| millis(&mut backoff).1).collect();
        assert_eq!(floors, [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn chance_changes_a_delay_by_a_fifth_and_never_exceeds_the_longest() {
        let least = Backoff::new(LONGEST, || 0.0).fail().retry;
        let most = Backoff::new(LONGEST, || 1.0).fail().retry;
        assert_eq!((least.as_millis(), most.as_millis()), (80, 120));
        let short = Duration::from_millis(50);
        assert_eq!(Backoff::new(short, || 1.0).fail().retry, short);
    }

    #[test]
    fn who_waits_for_another_process_asks_every_second() {
        let mut backoff = Backoff::new(LONGEST, || 0.5);
        let delays: Vec<_> = (0..6).map(|_| backoff.queue().retry.as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn what_no_retry_cures_is_tried_at_the_slow_period_whatever_comes_in() {
        let backoff = Backoff::new(LONGEST, || 0.5);
        assert_eq!(backoff.give_up(), Delay { retry: LONGEST, floor: LONGEST });
    }
}

//! Repeated failures: the delay before the next attempt, and which of them are logged.
//!
//! Pure: callers pass the time and the random numbers.

use std::ops::Range;
use std::time::{Duration, Instant};

/// Exponential back-off with jitter.
///
/// Each delay is twice the previous one, up to a longest one, times a random factor, so that nodes that fail for one
/// reason do not all try again at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    jitter: Range<f64>,
    failures: u32,
}

impl Backoff {
    /// Delays from `first` up to `longest`, each multiplied with a factor from `jitter`. No delay exceeds `longest`.
    pub fn new(first: Duration, longest: Duration, jitter: Range<f64>) -> Self {
        Self { first, longest, jitter, failures: 0 }
    }

    /// Changes the longest delay.
    pub fn set_longest(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// Counts a failure and returns the delay after it; `random` is a number from 0 to 1.
    pub fn fail(&mut self, random: f64) -> Duration {
        let delay = self.delay(self.failures, random);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// The delay after one more failure than `failures`. Counts nothing.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let step = self.first.saturating_mul(2_u32.saturating_pow(failures)).min(self.longest);
        let factor = self.jitter.start + (self.jitter.end - self.jitter.start) * random;
        Duration::try_from_secs_f64(step.as_secs_f64() * factor)
            .map_or(self.longest, |delay| delay.min(self.longest))
    }

    /// Starts again with the first delay, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Limits how often a failure that repeats is logged.
///
/// The first failure of a class is logged. The same class is logged again only after a pause, which doubles each time.
/// Only repetitions are suppressed, and metrics count every failure.
#[derive(Debug)]
pub struct LogLimiter {
    pause: Duration,
    longest_pause: Duration,
    classes: Vec<Class>,
    /// Failures since the last success.
    failures: u32,
    first_failure: Option<Instant>,
    /// Whether any failure since the last success was logged.
    is_logged: bool,
}

#[derive(Debug)]
struct Class {
    name: String,
    logged: Instant,
    pause: Duration,
}

/// The failures that a success ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Failures in a row.
    pub failures: u32,
    /// Time since the first of them.
    pub duration: Duration,
}

/// Most classes that are distinguished. Further ones count as the last, so that ever new errors cannot fill the log.
const MAX_CLASSES: usize = 8;

/// Pauses from one minute to one hour.
impl Default for LogLimiter {
    fn default() -> Self {
        Self::new(Duration::from_secs(60), Duration::from_secs(3600))
    }
}

impl LogLimiter {
    /// Pauses of at first `pause`, at most `longest_pause`. The same value for both gives a fixed interval.
    pub fn new(pause: Duration, longest_pause: Duration) -> Self {
        Self { pause, longest_pause, classes: Vec::new(), failures: 0, first_failure: None, is_logged: false }
    }

    /// Counts a failure of this class. Returns whether to log it.
    pub fn fail(&mut self, class: &str, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.first_failure.get_or_insert(now);
        let is_due = self.is_due(class, now);
        self.is_logged |= is_due;
        is_due
    }

    /// Ends an outage. Returns it if one of its failures was due for the log.
    pub fn succeed(&mut self, now: Instant) -> Option<Outage> {
        let (failures, is_logged) = (std::mem::take(&mut self.failures), std::mem::take(&mut self.is_logged));
        let duration = now.saturating_duration_since(self.first_failure.take()?);
        is_logged.then_some(Outage { failures, duration })
    }

    fn is_due(&mut self, name: &str, now: Instant) -> bool {
        let is_full = self.classes.len() >= MAX_CLASSES;
        let known = self.classes.iter().position(|class| class.name == name);
        let Some(index) = known.or(is_full.then_some(MAX_CLASSES - 1)) else {
            self.classes.push(Class { name: name.to_owned(), logged: now, pause: self.pause });
            return true;
        };
        let class = &mut self.classes[index];
        let passed = now.saturating_duration_since(class.logged);
        if passed < class.pause {
            return false;
        }
        // After twice its pause without a failure the class counts as new.
        let doubled = class.pause.saturating_mul(2);
        let pause = if passed < doubled { doubled.min(self.longest_pause) } else { self.pause };
        *class = Class { name: name.to_owned(), logged: now, pause };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30), 0.5..1.0);
        for step in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].map(Duration::from_millis) {
            assert_eq!(backoff.clone().fail(0.0), step / 2);
            assert_eq!(backoff.fail(1.0), step);
        }
        for _ in 0..1000 {
            assert_eq!(backoff.fail(1.0), Duration::from_secs(30));
        }
        backoff.reset();
        assert_eq!(backoff.fail(1.0), Duration::from_millis(500));
    }

    #[test]
    fn jitter_never_exceeds_the_longest_delay() {
        let mut backoff = Backoff::new(Duration::from_secs(20), Duration::from_secs(30), 0.8..1.2);
        let delays = [backoff.fail(0.0), backoff.fail(0.5), backoff.fail(1.0)];
        assert_eq!(delays, [16, 30, 30].map(Duration::from_secs));
        backoff.set_longest(Duration::from_secs(10));
        assert_eq!(backoff.fail(1.0), Duration::from_secs(10));
        let endless = Backoff::new(Duration::MAX, Duration::MAX, 0.8..1.2);
        assert_eq!(endless.delay(u32::MAX, 1.0), Duration::MAX);
    }

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// Fails once a second; the seconds at which that is due for the log.
    fn logged(
        limiter: &mut LogLimiter,
        start: Instant,
        seconds: u64,
        class: impl Fn(u64) -> String,
    ) -> Vec<u64> {
        (0..seconds).filter(|at| limiter.fail(&class(*at), start + second(*at))).collect()
    }

    #[test]
    fn repeated_failure_is_logged_at_growing_pauses_up_to_an_hour() {
        let logged = logged(&mut LogLimiter::default(), Instant::now(), 20_000, |_| "a".into());
        assert_eq!(logged[..7], [0, 60, 180, 420, 900, 1860, 3780]);
        assert_eq!(logged[7..], [7380, 10_980, 14_580, 18_180]);
    }

    #[test]
    fn equal_pauses_are_a_fixed_interval() {
        let mut hourly = LogLimiter::new(second(3600), second(3600));
        assert_eq!(logged(&mut hourly, Instant::now(), 10_000, |_| "a".into()), [0, 3600, 7200]);
    }

    #[test]
    fn another_class_is_logged_and_a_returning_one_is_not() {
        let logged = logged(&mut LogLimiter::default(), Instant::now(), 60, |at| (at % 2).to_string());
        assert_eq!(logged, [0, 1]);
    }

    #[test]
    fn unlimited_classes_do_not_fill_the_log() {
        let logged = logged(&mut LogLimiter::default(), Instant::now(), 600, |at| at.to_string());
        assert_eq!(logged, [0, 1, 2, 3, 4, 5, 6, 7, 67, 187, 427]);
    }

    #[test]
    fn success_returns_the_outage_if_it_was_logged() {
        let (mut limiter, start) = (LogLimiter::default(), Instant::now());
        assert_eq!(limiter.succeed(start), None);
        logged(&mut limiter, start, 5, |_| "a".into());
        let outage = Outage { failures: 5, duration: second(5) };
        assert_eq!(limiter.succeed(start + second(5)), Some(outage));
        assert_eq!(limiter.succeed(start + second(5)), None);
        assert!(!limiter.fail("a", start + second(5)), "it returns within its pause");
        assert_eq!(limiter.succeed(start + second(6)), None, "that failure was not logged");
    }

    #[test]
    fn class_without_recent_failure_counts_as_new() {
        let (mut limiter, start) = (LogLimiter::default(), Instant::now());
        logged(&mut limiter, start, 100, |_| "a".into());
        limiter.succeed(start + second(100));
        assert_eq!(logged(&mut limiter, start + second(700), 70, |_| "a".into()), [0, 60]);
    }
}

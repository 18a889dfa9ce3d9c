//! Decides which of many failures the log hears of.
//!
//! A server that is away is asked again for as long as it takes, and each try fails in
//! the same way. The first is told, and after that the same again only when it has been
//! kept quiet for a while that doubles each time. What is told is told whole, so nothing
//! is lost but repetition; counters count every failure all the same.

use std::time::Duration;

use tokio::time::Instant;

/// How long a failure is kept quiet after it was told for the first time.
const FIRST_QUIET: Duration = Duration::from_secs(60);

/// The longest that a failure is kept quiet.
const LAST_QUIET: Duration = Duration::from_secs(3600);

/// Classes of failures that are told apart. What comes on top counts as the last one, so
/// that a server which fails in ever new ways cannot fill the log either.
const CLASSES: usize = 8;

/// What has been told of one thing that may fail again and again.
#[derive(Debug)]
pub(crate) struct Telling {
    /// How long a failure is kept quiet at first.
    first_quiet: Duration,
    classes: Vec<Class>,
    /// Failures since the last success.
    failures: u32,
    since: Option<Instant>,
    /// Whether any of them was told.
    told: bool,
}

#[derive(Debug)]
struct Class {
    name: String,
    told: Instant,
    quiet: Duration,
}

/// What a success puts an end to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Time since the first of them.
    pub(crate) lasted: Duration,
}

impl Default for Telling {
    fn default() -> Self {
        Self { first_quiet: FIRST_QUIET, classes: Vec::new(), failures: 0, since: None, told: false }
    }
}

impl Telling {
    /// For what we can do without: told once, and then once an hour.
    pub(crate) fn rarely() -> Self {
        Self { first_quiet: LAST_QUIET, ..Self::default() }
    }

    /// Takes in a failure of this class; whether to tell of it.
    pub(crate) fn fail(&mut self, class: &str) -> bool {
        let now = Instant::now();
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        let tell = self.is_due(class, now);
        self.told |= tell;
        tell
    }

    /// Takes in a success. Says what it ended, if the log was told that there was something to end.
    pub(crate) fn succeed(&mut self) -> Option<Outage> {
        let outage =
            self.since.take().map(|since| Outage { failures: self.failures, lasted: since.elapsed() });
        self.failures = 0;
        std::mem::take(&mut self.told).then_some(outage).flatten()
    }

    fn is_due(&mut self, name: &str, now: Instant) -> bool {
        let full = self.classes.len() >= CLASSES;
        let known = self.classes.iter().position(|class| class.name == name);
        let Some(place) = known.or(full.then_some(CLASSES - 1)) else {
            self.classes.push(Class { name: name.to_owned(), told: now, quiet: self.first_quiet });
            return true;
        };
        let class = &mut self.classes[place];
        let passed = now.saturating_duration_since(class.told);
        if passed < class.quiet {
            return false;
        }
        // After twice the quiet time without a word it is news again.
        let again = passed < class.quiet * 2;
        let quiet = if again { (class.quiet * 2).min(LAST_QUIET) } else { self.first_quiet };
        *class = Class { name: name.to_owned(), told: now, quiet };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    /// Fails once a second; the seconds at which that was told.
    async fn told_in(telling: &mut Telling, seconds: u64, class: impl Fn(u64) -> String) -> Vec<u64> {
        let mut told = Vec::new();
        for second in 0..seconds {
            if telling.fail(&class(second)) {
                told.push(second);
            }
            advance(Duration::from_secs(1)).await;
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_failure_is_told_ever_more_rarely_down_to_once_an_hour() {
        let told = told_in(&mut Telling::default(), 20_000, |_| "a".into()).await;
        assert_eq!(told[..7], [0, 60, 180, 420, 900, 1860, 3780]);
        assert_eq!(told[7..], [7380, 10_980, 14_580, 18_180]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_can_do_without_is_told_once_an_hour() {
        let told = told_in(&mut Telling::rarely(), 10_000, |_| "a".into()).await;
        assert_eq!(told, [0, 3600, 7200]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_failure_is_news_and_the_first_one_is_not_when_it_returns() {
        let mut telling = Telling::default();
        let told = told_in(&mut telling, 60, |second| (second % 2).to_string()).await;
        assert_eq!(told, [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn ever_new_failures_do_not_fill_the_log() {
        let told = told_in(&mut Telling::default(), 600, |second| second.to_string()).await;
        assert_eq!(told, [0, 1, 2, 3, 4, 5, 6, 7, 67, 187, 427]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_is_told_with_what_it_ends_and_only_then() {
        let mut telling = Telling::default();
        assert_eq!(telling.succeed(), None);
        told_in(&mut telling, 5, |_| "a".into()).await;
        assert_eq!(telling.succeed(), Some(Outage { failures: 5, lasted: Duration::from_secs(5) }));
        assert_eq!(telling.succeed(), None);
        assert!(!telling.fail("a"), "it comes and goes within its quiet time");
        assert_eq!(telling.succeed(), None, "nobody was told that it failed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_failed_for_long_is_news() {
        let mut telling = Telling::default();
        told_in(&mut telling, 100, |_| "a".into()).await;
        telling.succeed();
        advance(Duration::from_secs(600)).await;
        assert_eq!(told_in(&mut telling, 70, |_| "a".into()).await, [0, 60]);
    }
}

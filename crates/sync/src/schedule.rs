//! When one family may and must be applied. Knows time, but neither plans nor backends.

use std::time::Duration;

use portolan_core::backend::Retry;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::settings::SyncSettings;

/// The shortest time from one integrity check to the next, if others change something all the time. Short against
/// the second within which a repair is expected.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// When one family may and must be applied.
#[derive(Debug)]
pub(crate) struct Schedule {
    min_period: Duration,
    full_period: Duration,
    look_period: Duration,
    backoff: Backoff,
    /// For complete comparisons that fail and leave everything as it is.
    full_backoff: Backoff,
    condition: Condition,
    /// No apply starts before this.
    not_before: Instant,
    /// A retry, or what a backend asked for.
    due: Option<Instant>,
    /// When everything must be compared again; unknown before the first success.
    full_due: Option<Instant>,
    /// Whether the last attempt was a comparison that failed and left everything as it was. Changes
    /// that wait go before the next.
    gives_way: bool,
    /// When to look whether the rules are there still; unknown before the first success.
    look_due: Option<Instant>,
    /// A foreign change calls for no integrity check before this.
    no_check_before: Instant,
    /// The present shortest time from one integrity check to the next.
    check_interval: Duration,
    /// When an integrity check last found rules damaged.
    damaged: Option<Instant>,
}

/// How the last apply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// Well, or there was none. All changes there are call for an apply.
    Good,
    /// Badly. Its changes wait for the retry, but new ones call for one earlier.
    Failed { changed_since: bool },
}

impl Schedule {
    /// Starts now, and lets `chance` (a number from 0 up to 1) spread its retries.
    pub(crate) fn new(settings: &SyncSettings, now: Instant, chance: fn() -> f64) -> Self {
        Self {
            min_period: settings.min_period,
            full_period: settings.full_period,
            look_period: settings.sync_period,
            backoff: Backoff::new(settings.sync_period, chance),
            full_backoff: Backoff::new(settings.sync_period, chance),
            condition: Condition::Good,
            not_before: now,
            due: None,
            full_due: None,
            gives_way: false,
            look_due: None,
            no_check_before: now,
            check_interval: CHECK_INTERVAL,
            damaged: None,
        }
    }

    /// Takes over other periods. What is planned already stays; what comes follows them.
    pub(crate) fn reconfigure(&mut self, min_period: Duration, sync_period: Duration) {
        self.not_before =
            (self.not_before + min_period).checked_sub(self.min_period).unwrap_or(self.not_before);
        self.min_period = min_period;
        self.backoff.limit(sync_period);
        self.full_backoff.limit(sync_period);
        self.look_due =
            self.look_due.map(|due| (due + sync_period).checked_sub(self.look_period).unwrap_or(due));
        self.look_period = sync_period;
    }

    /// When to apply next, given whether there are changes; possibly in the past.
    pub(crate) fn next(&self, has_changes: bool) -> Option<Instant> {
        let wanted_now = match self.condition {
            Condition::Good => has_changes,
            Condition::Failed { changed_since } => changed_since,
        };
        let now = wanted_now.then_some(self.not_before);
        let later = [self.due, self.full_due].into_iter().flatten().map(|due| due.max(self.not_before));
        now.into_iter().chain(later).min()
    }

    /// Whether the next apply must compare everything because it is time for that again.
    pub(crate) fn is_full_due(&self, now: Instant, has_changes: bool) -> bool {
        self.full_due.is_some_and(|due| due <= now) && !(has_changes && self.gives_way)
    }

    /// When to look whether the rules are there still. Not while they do not follow: whoever tries again
    /// will notice.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.look_due.filter(|_| !self.is_failing())
    }

    /// Another process may have changed the rules: they are checked now, or as soon as the interval allows.
    pub(crate) fn foreign_change(&mut self, now: Instant) {
        let soon = now.max(self.no_check_before);
        self.look_due = self.look_due.map(|due| due.min(soon));
    }

    /// Whether the rules are there still has been looked at.
    ///
    /// Where they are damaged again and again, another process writes them as we do, and the interval grows.
    pub(crate) fn looked(&mut self, now: Instant, is_intact: bool) {
        let is_repeated = self.damaged.is_some_and(|before| now < before + 2 * self.look_period);
        self.check_interval = match (is_repeated, is_intact) {
            (false, _) => CHECK_INTERVAL,
            (true, true) => self.check_interval,
            (true, false) => 2 * self.check_interval,
        }
        .min(self.look_period);
        if !is_intact {
            self.damaged = Some(now);
        }
        self.no_check_before = now + self.check_interval;
        self.look_due = Some(now + self.look_period);
    }

    /// Whether the last apply failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.condition != Condition::Good
    }

    /// Something new has come in.
    pub(crate) fn changed(&mut self) {
        if let Condition::Failed { changed_since } = &mut self.condition {
            *changed_since = true;
        }
    }

    /// An apply succeeded; `was_full` if it compared everything.
    pub(crate) fn succeeded(&mut self, now: Instant, was_full: bool, follow_up: Option<Duration>) {
        self.condition = Condition::Good;
        self.gives_way = false;
        self.backoff.reset();
        self.not_before = now + self.min_period;
        self.due = follow_up.map(|after| now + after);
        if was_full || self.full_due.is_none() {
            self.full_due = Some(now + self.full_period);
            self.full_backoff.reset();
            self.look_due = Some(now + self.look_period);
        }
    }

    /// A comparison for which it was time failed and left everything as it was. Returns how long until
    /// the next; meanwhile changes are applied as ever.
    pub(crate) fn comparison_failed(&mut self, now: Instant, retry: Retry) -> Duration {
        let wait = self.full_backoff.after(retry).retry.max(self.min_period);
        self.not_before = now + self.min_period;
        self.full_due = Some(now + wait);
        self.gives_way = true;
        wait
    }

    /// An apply failed. Returns how long until the retry, if nothing new comes in.
    pub(crate) fn failed(&mut self, now: Instant, retry: Retry) -> Duration {
        let delay = self.backoff.after(retry);
        let wait = delay.retry.max(self.min_period);
        self.condition = Condition::Failed { changed_since: false };
        self.gives_way = false;
        self.not_before = now + delay.floor.max(self.min_period);
        self.due = Some(now + wait);
        // A retry compares everything if that is due, so that need not wake us by itself.
        self.full_due = self.full_due.map(|due| due.max(now + wait));
        wait
    }
}

#[cfg(test)]
mod tests;

//! When one family may and must be synced. Depends on time only, not on plans or backends.

use std::time::Duration;

use portolan_core::Backoff;
use portolan_core::backend::Retry;
use tokio::time::Instant;

use crate::settings::SyncSettings;

/// The shortest time from one integrity check to the next while other programs keep changing something. Short compared
/// with the second within which a repair is expected.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Delay after the first failure. Long compared with a netlink round trip, so that a kernel that is short of memory can
/// recover; short compared with what users notice.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Longest delay where something may have changed: a new change may be what helps, or another process may have released
/// what the sync needs. One attempt per second costs little.
const PROMPT_DELAY: Duration = Duration::from_secs(1);

/// Back-off for one family. With jitter, so that two families that fail for one reason do not keep failing at the same
/// moment.
pub(crate) fn backoff(longest: Duration) -> Backoff {
    Backoff::new(FIRST_DELAY, longest, 0.8..1.2)
}

/// When one family may and must be synced.
#[derive(Debug)]
pub(crate) struct Schedule {
    min_period: Duration,
    full_period: Duration,
    sync_period: Duration,
    /// A random number from 0 to 1, for jitter.
    random: fn() -> f64,
    backoff: Backoff,
    /// For full syncs that fail and leave the rules unchanged.
    full_backoff: Backoff,
    condition: Condition,
    /// No sync starts before this.
    not_before: Instant,
    /// A retry, or a follow-up that a backend asked for.
    due: Option<Instant>,
    /// The next full sync; unknown before the first success.
    full_due: Option<Instant>,
    /// Whether the last attempt was a full sync that failed and left the rules unchanged. Pending changes are then
    /// synced before the next full sync.
    defers_full_sync: bool,
    /// The next integrity check; unknown before the first success.
    check_due: Option<Instant>,
    /// A foreign change causes no integrity check before this.
    no_check_before: Instant,
    /// The current shortest time from one integrity check to the next.
    check_interval: Duration,
    /// When an integrity check last found damage.
    damaged: Option<Instant>,
}

/// How the last sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// With success, or there was none. Any change causes a sync.
    Good,
    /// With a failure. Its changes wait for the retry; new ones cause an earlier one.
    Failed { changed_since: bool },
}

impl Schedule {
    /// Starts now; `random` returns a number from 0 to 1.
    pub(crate) fn new(settings: &SyncSettings, now: Instant, random: fn() -> f64) -> Self {
        Self {
            min_period: settings.min_period,
            full_period: settings.full_period,
            sync_period: settings.sync_period,
            random,
            backoff: backoff(settings.sync_period),
            full_backoff: backoff(settings.sync_period),
            condition: Condition::Good,
            not_before: now,
            due: None,
            full_due: None,
            defers_full_sync: false,
            check_due: None,
            no_check_before: now,
            check_interval: CHECK_INTERVAL,
            damaged: None,
        }
    }

    /// Changes the periods. The minimum period and the next integrity check move accordingly; retries stay.
    pub(crate) fn reconfigure(&mut self, min_period: Duration, sync_period: Duration) {
        self.not_before =
            (self.not_before + min_period).checked_sub(self.min_period).unwrap_or(self.not_before);
        self.min_period = min_period;
        self.backoff.set_longest(sync_period);
        self.full_backoff.set_longest(sync_period);
        self.check_due =
            self.check_due.map(|due| (due + sync_period).checked_sub(self.sync_period).unwrap_or(due));
        self.sync_period = sync_period;
    }

    /// When to sync next; possibly in the past.
    pub(crate) fn next(&self, has_changes: bool) -> Option<Instant> {
        let wanted_now = match self.condition {
            Condition::Good => has_changes,
            Condition::Failed { changed_since } => changed_since,
        };
        let now = wanted_now.then_some(self.not_before);
        let later = [self.due, self.full_due].into_iter().flatten().map(|due| due.max(self.not_before));
        now.into_iter().chain(later).min()
    }

    /// Whether the next sync is a full one because the period has passed.
    pub(crate) fn is_full_due(&self, now: Instant, has_changes: bool) -> bool {
        self.full_due.is_some_and(|due| due <= now) && !(has_changes && self.defers_full_sync)
    }

    /// When to run the next integrity check. None while syncs fail: the retry finds damage.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.check_due.filter(|_| !self.is_failing())
    }

    /// Another process may have changed the rules: checks them now, or as soon as the interval allows.
    pub(crate) fn foreign_change(&mut self, now: Instant) {
        let soon = now.max(self.no_check_before);
        self.check_due = self.check_due.map(|due| due.min(soon));
    }

    /// An integrity check was made.
    ///
    /// If it finds damage again and again, another process writes the same rules, and the interval grows.
    pub(crate) fn checked(&mut self, now: Instant, is_intact: bool) {
        let is_repeated = self.damaged.is_some_and(|before| now < before + 2 * self.sync_period);
        self.check_interval = match (is_repeated, is_intact) {
            (false, _) => CHECK_INTERVAL,
            (true, true) => self.check_interval,
            (true, false) => 2 * self.check_interval,
        }
        .min(self.sync_period);
        if !is_intact {
            self.damaged = Some(now);
        }
        self.no_check_before = now + self.check_interval;
        self.check_due = Some(now + self.sync_period);
    }

    /// Whether the last sync failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.condition != Condition::Good
    }

    /// The plan has changed.
    pub(crate) fn changed(&mut self) {
        if let Condition::Failed { changed_since } = &mut self.condition {
            *changed_since = true;
        }
    }

    /// A sync succeeded.
    pub(crate) fn succeeded(&mut self, now: Instant, was_full: bool, follow_up: Option<Duration>) {
        self.condition = Condition::Good;
        self.defers_full_sync = false;
        self.backoff.reset();
        self.not_before = now + self.min_period;
        self.due = follow_up.map(|after| now + after);
        if was_full || self.full_due.is_none() {
            self.full_due = Some(now + self.full_period);
            self.full_backoff.reset();
            self.check_due = Some(now + self.sync_period);
        }
    }

    /// A full sync whose period had passed failed and left the rules unchanged. Returns the time to the next; changes
    /// are synced meanwhile.
    pub(crate) fn full_sync_failed(&mut self, now: Instant, retry: Retry) -> Duration {
        let delay = delay(retry, &mut self.full_backoff, (self.random)(), self.sync_period);
        let delay = delay.max(self.min_period);
        self.not_before = now + self.min_period;
        self.full_due = Some(now + delay);
        self.defers_full_sync = true;
        delay
    }

    /// A sync failed. Returns the time to the retry, if nothing changes.
    pub(crate) fn failed(&mut self, now: Instant, retry: Retry) -> Duration {
        let delay = delay(retry, &mut self.backoff, (self.random)(), self.sync_period);
        let after_change = if retry == Retry::Never { delay } else { delay.min(PROMPT_DELAY) };
        let delay = delay.max(self.min_period);
        self.condition = Condition::Failed { changed_since: false };
        self.defers_full_sync = false;
        self.not_before = now + after_change.max(self.min_period);
        self.due = Some(now + delay);
        // The retry is a full sync if one is due.
        self.full_due = self.full_due.map(|due| due.max(now + delay));
        delay
    }
}

/// The time to the next attempt after one more failure.
fn delay(retry: Retry, backoff: &mut Backoff, random: f64, longest: Duration) -> Duration {
    match retry {
        Retry::Never => longest,
        // The other process releases what we need when it ends, as the old proxy does in an upgrade.
        Retry::SameChanges => backoff.fail(random).min(PROMPT_DELAY),
        Retry::Unchanged | Retry::CompareAll => backoff.fail(random),
    }
}

#[cfg(test)]
mod tests;

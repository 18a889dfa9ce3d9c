//! What the log says of failures: each problem once, and its end.

use std::time::Duration;

use portolan_core::backend::{Retry, error_chain};
use portolan_core::flows::FlowError;
use portolan_core::{BackendError, IpFamily};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

/// The failures of one family at one task since its last success.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    streak: Option<Streak>,
}

#[derive(Debug)]
struct Streak {
    began: Instant,
    attempts: u32,
    /// What was logged last; the same is not said twice in a row.
    last: String,
}

/// One failure, as the log should treat it.
struct Noted {
    text: String,
    /// Which one of the streak it is, from 1.
    attempt: u32,
    is_news: bool,
}

impl Failures {
    /// Logs that the rules could not be written, and what will be done about it.
    pub(crate) fn rules_failed(
        &mut self,
        family: IpFamily,
        problem: &BackendError,
        wait: Duration,
        now: Instant,
    ) {
        let next = next_step(problem.retry());
        let Noted { text, attempt, is_news } = self.note(error_chain(problem), now);
        if is_news {
            error!(
                %family,
                err = text,
                attempt,
                next,
                wait = ?wait,
                "rules do not follow, and stay as they are"
            );
        } else {
            debug!(%family, err = text, attempt, next, wait = ?wait, "rules still do not follow");
        }
    }

    /// Logs that the rules are written again, if they were not.
    pub(crate) fn rules_recovered(&mut self, family: IpFamily, now: Instant) {
        if let Some(streak) = self.streak.take() {
            info!(%family, failures = streak.attempts, lasted = ?now - streak.began, "rules follow again");
        }
    }

    /// Logs that what the kernel holds could not be compared with the plan, which is in force as far as
    /// anybody knows.
    pub(crate) fn comparison_failed(
        &mut self,
        family: IpFamily,
        problem: &BackendError,
        wait: Duration,
        now: Instant,
    ) {
        let Noted { text, attempt, is_news } = self.note(error_chain(problem), now);
        if is_news {
            warn!(%family, err = text, attempt, wait = ?wait, "rules follow, but cannot be compared as a whole");
        } else {
            debug!(%family, err = text, attempt, wait = ?wait, "rules still cannot be compared as a whole");
        }
    }

    /// Logs that everything was compared again, if it was not.
    pub(crate) fn comparison_recovered(&mut self, family: IpFamily, now: Instant) {
        if let Some(streak) = self.streak.take() {
            let (failures, lasted) = (streak.attempts, now - streak.began);
            info!(%family, failures, lasted = ?lasted, "rules are compared as a whole again");
        }
    }

    /// Logs that nobody can tell whether the rules are there still.
    pub(crate) fn look_failed(&mut self, family: IpFamily, problem: &BackendError, now: Instant) {
        let Noted { text, attempt, is_news } = self.note(error_chain(problem), now);
        if is_news {
            warn!(%family, err = text, attempt, "cannot tell whether the rules are there still");
        }
    }

    /// Forgets that a look has failed.
    pub(crate) fn look_recovered(&mut self) {
        self.streak = None;
    }

    /// Logs that stale flows could not be removed, and when that will be tried again.
    pub(crate) fn flows_failed(
        &mut self,
        family: IpFamily,
        problem: &FlowError,
        wait: Duration,
        now: Instant,
    ) {
        let Noted { text, attempt, is_news } = self.note(error_chain(problem), now);
        if is_news {
            warn!(
                %family,
                err = text,
                attempt,
                wait = ?wait,
                "UDP clients may keep sending to endpoints that are gone"
            );
        } else {
            debug!(%family, err = text, attempt, wait = ?wait, "stale UDP flows still cannot be removed");
        }
    }

    /// Logs that stale flows are removed again, if they were not.
    pub(crate) fn flows_recovered(&mut self, family: IpFamily, now: Instant) {
        if let Some(streak) = self.streak.take() {
            let (failures, lasted) = (streak.attempts, now - streak.began);
            info!(%family, failures, lasted = ?lasted, "stale UDP flows are removed again");
        }
    }

    fn note(&mut self, text: String, now: Instant) -> Noted {
        let streak = self.streak.get_or_insert(Streak { began: now, attempts: 0, last: String::new() });
        streak.attempts += 1;
        let is_news = streak.last != text;
        if is_news {
            streak.last.clone_from(&text);
        }
        Noted { text, attempt: streak.attempts, is_news }
    }
}

fn next_step(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "see whether the host has changed",
        Retry::SameChanges | Retry::Unchanged => "try again",
        Retry::CompareAll => "compare everything and try again",
    }
}

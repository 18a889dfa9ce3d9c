//! What the log says of failures: each problem once, and its end.

use std::time::Duration;

use portolan_core::backend::{Retry, error_chain};
use portolan_core::{BackendError, IpFamily};
use tokio::time::Instant;
use tracing::{debug, error, info};

/// The failures of one family since its last success.
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

impl Failures {
    /// Logs a failure and what will be done about it.
    pub(crate) fn failed(&mut self, family: IpFamily, problem: &BackendError, wait: Duration, now: Instant) {
        let streak = self.streak.get_or_insert(Streak { began: now, attempts: 0, last: String::new() });
        streak.attempts += 1;
        let text = error_chain(problem);
        let (attempt, next) = (streak.attempts, next_step(problem.retry()));
        if streak.last == text {
            debug!(%family, err = text, attempt, next, wait = ?wait, "rules still do not follow");
        } else {
            error!(
                %family,
                err = text,
                attempt,
                next,
                wait = ?wait,
                "rules do not follow, and stay as they are"
            );
            streak.last = text;
        }
    }

    /// Logs that failures are over, if there were any.
    pub(crate) fn recovered(&mut self, family: IpFamily, now: Instant) {
        if let Some(streak) = self.streak.take() {
            info!(%family, failures = streak.attempts, lasted = ?now - streak.began, "rules follow again");
        }
    }
}

fn next_step(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "see whether the host has changed",
        Retry::SameChanges => "try again",
        Retry::CompareAll => "compare everything and try again",
    }
}

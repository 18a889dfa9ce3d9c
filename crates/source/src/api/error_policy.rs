//! What a failure means for a reflector: how long to wait, and what to log.

use std::time::Duration;

use portolan_core::event::Change;
use portolan_core::retry::Outage;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::availability::jitter;
use super::failure::Failure;
use super::query::Position;
use super::reflector::{Attempt, Reflector};
use crate::convert::Resource;
use crate::metrics::Count;

/// A watch that lasts this long is stable; only then does a later failure count as the first again. Without it, a
/// server that accepts watches and drops them would be asked as fast as the network allows.
pub(super) const STABLE: Duration = Duration::from_secs(1);

/// After this many useless watches in a row, lists take their place: load balancers and proxies may end every watch at
/// once or pass nothing on, and rights may allow lists alone.
const MAX_USELESS: u32 = 3;

/// Longest wait after a rejection by a server that may still be starting.
const STARTING_RETRY: Duration = Duration::from_secs(4);

/// How many of the longest waits pass before the next request for a kind that the server does not have: ten minutes.
/// Only an upgrade brings it.
const ABSENT_RETRIES: u32 = 20;

/// Between log messages about a kind that a proxy works without.
pub(super) const RARELY_LOGGED: Duration = Duration::from_secs(3600);

/// What a failure means for a reflector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The position is too old.
    Expired,
    /// A watch worked for a while and broke off.
    Interrupted,
    /// The server does not have this kind.
    Absent,
    WatchFailed,
    ListFailed,
}

impl<T: Resource> Reflector<T> {
    /// Decides what a failure means. Returns how long to wait.
    pub(super) async fn wait_after(&mut self, failure: &Failure) -> Duration {
        if matches!(failure, Failure::Renewed) {
            return Duration::ZERO;
        }
        self.client.metrics.add_error(Count::Failures, T::KIND);
        let meaning = self.meaning(failure);
        let longest = self.client.timing.last_retry;
        let is_rejected = matches!(failure, Failure::Rejected(_)) && !failure.is_overload();
        let is_starting = is_rejected && self.server_state.may_be_starting();
        let wait = match meaning {
            Meaning::Interrupted => {
                self.backoff.reset();
                Duration::ZERO
            }
            // The server answers, so the list need not wait for the end of an outage.
            Meaning::Expired if self.last_list.elapsed() >= longest => {
                self.list_backoff.reset();
                jitter(&self.client.timing)
            }
            Meaning::Expired => self.list_backoff.fail(fastrand::f64()),
            Meaning::Absent if !is_starting => longest * ABSENT_RETRIES,
            _ if is_starting => self.backoff.fail(fastrand::f64()).min(STARTING_RETRY),
            _ => self.backoff.fail(fastrand::f64()),
        };
        let wait = wait.max(failure.retry_after().min(longest));
        if meaning == Meaning::Absent && self.position == Position::Start && !self.is_absent {
            // If the receiver is closed, the caller notices it, too.
            self.is_absent = self.send(Change::Replaced(Vec::new())).await.is_ok();
        }
        if self.log.fail(&format!("{meaning:?}, {}", failure.class()), Instant::now().into_std()) {
            self.log_failure(failure, meaning, wait);
        }
        wait
    }

    fn meaning(&mut self, failure: &Failure) -> Meaning {
        if failure.is_expired() && matches!(self.position, Position::At(_)) {
            self.position = Position::Expired;
            return Meaning::Expired;
        }
        match self.attempt {
            Attempt::List if T::OPTIONAL && failure.is_status(404) => Meaning::Absent,
            Attempt::List => Meaning::ListFailed,
            Attempt::Watch(lasted) if lasted >= STABLE => Meaning::Interrupted,
            Attempt::Watch(_) => Meaning::WatchFailed,
            Attempt::WatchRequest => {
                self.judge_rejection(failure);
                Meaning::WatchFailed
            }
        }
    }

    /// Decides whether to list because a watch was not accepted, so that changes may get lost.
    fn judge_rejection(&mut self, failure: &Failure) {
        if matches!(failure, Failure::Rejected(_)) && !failure.is_overload() {
            self.short_watches = self.short_watches.saturating_add(1);
            self.must_list = self.short_watches >= MAX_USELESS;
        } else {
            // While the server is unavailable or overloaded, a list is no better than a watch.
            self.must_list = self.is_silent();
        }
    }

    /// Decides whether to list after the end of a watch: whether it `is_stable` and had events. A stable watch without
    /// events may just have had none to bring.
    pub(super) fn judge_watch(&mut self, is_stable: bool, has_events: bool) {
        if is_stable {
            self.short_watches = 0;
            self.silent_watches = if has_events { 0 } else { self.silent_watches.saturating_add(1) };
        } else {
            self.short_watches = self.short_watches.saturating_add(1);
        }
        self.must_list =
            self.short_watches >= MAX_USELESS || self.silent_watches >= MAX_USELESS && self.is_silent();
    }

    /// Notes that a watch is stable, and whether it has brought events.
    pub(super) fn trust_watch(&mut self, has_events: bool) {
        self.short_watches = 0;
        if has_events {
            self.silent_watches = 0;
        }
        if self.watches_work() {
            self.is_list_only_logged = false;
            self.log_recovery();
        }
    }

    /// Whether watches bring changes, as far as is known.
    pub(super) fn watches_work(&self) -> bool {
        self.short_watches < MAX_USELESS && self.silent_watches < MAX_USELESS
    }

    /// Whether neither a list nor an event, not even a bookmark, has come for a long time.
    fn is_silent(&self) -> bool {
        self.last_received.elapsed() >= self.client.timing.silence
    }

    fn log_failure(&self, failure: &Failure, meaning: Meaning, wait: Duration) {
        let (server, kind) = (&*self.client.server, T::KIND);
        match meaning {
            Meaning::Expired => {
                info!(server, kind, err = %failure, "Resource version expired; listing again");
            }
            Meaning::Interrupted => warn!(server, kind, err = %failure, "Watch broke off; resuming it"),
            Meaning::Absent => info!(server, kind, retryAfter = ?wait, "API server does not have this kind"),
            Meaning::WatchFailed | Meaning::ListFailed => {
                let verb = if meaning == Meaning::ListFailed { "list" } else { "watch" };
                // A proxy works without an optional kind.
                if T::OPTIONAL {
                    warn!(server, kind, verb, err = %failure, retryAfter = ?wait, "Failed to read objects");
                } else {
                    error!(server, kind, verb, err = %failure, retryAfter = ?wait, "Failed to read objects");
                }
            }
        }
    }

    /// Logs what a complete list means: that failures have ended, or that lists replace watches.
    pub(super) fn log_list(&mut self) {
        if self.watches_work() {
            self.log_recovery();
        } else if !std::mem::replace(&mut self.is_list_only_logged, true)
            && self.log.fail("list only", Instant::now().into_std())
        {
            let (server, kind, interval) = (&*self.client.server, T::KIND, self.client.timing.last_retry);
            warn!(server, kind, ?interval, "Watches bring no changes; listing objects repeatedly");
        }
    }

    /// Logs the end of failures that were logged.
    fn log_recovery(&mut self) {
        if let Some(Outage { failures, duration }) = self.log.succeed(Instant::now().into_std()) {
            let (server, kind) = (&*self.client.server, T::KIND);
            info!(server, kind, failures, ?duration, "Objects can be read again");
        }
    }
}

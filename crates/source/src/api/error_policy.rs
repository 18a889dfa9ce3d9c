//! The reaction of a reflector to a failure: the wait before the next attempt, and the log message.

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
/// server that accepts watches and drops them would get requests as fast as the network allows.
pub(super) const STABLE: Duration = Duration::from_secs(1);

/// After this many useless watches in a row, lists take their place: load balancers and proxies may end every watch at
/// once or pass nothing on, and rights may allow lists alone.
const MAX_FAILED_WATCHES: u32 = 3;

/// Longest wait after a rejection by a server that may still be starting.
const STARTING_RETRY: Duration = Duration::from_secs(4);

/// How many of the longest waits pass before the next request for a kind that the server does not have: ten minutes.
/// Only an upgrade brings it.
const ABSENT_RETRIES: u32 = 20;

/// Between log messages about a kind that a proxy works without.
pub(super) const OPTIONAL_LOG_PAUSE: Duration = Duration::from_secs(3600);

/// The kind of a failure, by which a reflector chooses its reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureKind {
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
    /// Reacts to a failure. Returns the wait before the next attempt.
    pub(super) async fn handle_failure(&mut self, failure: &Failure) -> Duration {
        if matches!(failure, Failure::Renewed) {
            return Duration::ZERO;
        }
        self.client.metrics.add_error(Count::Failures, T::KIND);
        let failure_kind = self.classify(failure);
        let longest = self.client.timing.last_retry;
        let is_rejected = matches!(failure, Failure::Rejected(_)) && !failure.is_overload();
        let is_starting = is_rejected && self.server_state.may_be_starting();
        let wait = match failure_kind {
            FailureKind::Interrupted => {
                self.backoff.reset();
                Duration::ZERO
            }
            // The server answers, so the list need not wait for the end of an outage.
            FailureKind::Expired if self.last_list.elapsed() >= longest => {
                self.list_backoff.reset();
                jitter(&self.client.timing)
            }
            FailureKind::Expired => self.list_backoff.fail(fastrand::f64()),
            FailureKind::Absent if !is_starting => longest * ABSENT_RETRIES,
            _ if is_starting => self.backoff.fail(fastrand::f64()).min(STARTING_RETRY),
            _ => self.backoff.fail(fastrand::f64()),
        };
        let wait = wait.max(failure.retry_after().min(longest));
        if failure_kind == FailureKind::Absent && self.position == Position::Start && !self.is_absent {
            // If the receiver is closed, the caller notices it, too.
            self.is_absent = self.send(Change::Replaced(Vec::new())).await.is_ok();
        }
        if self.log.fail(&format!("{failure_kind:?}, {}", failure.class()), Instant::now().into_std()) {
            self.log_failure(failure, failure_kind, wait);
        }
        wait
    }

    fn classify(&mut self, failure: &Failure) -> FailureKind {
        if failure.is_expired() && matches!(self.position, Position::At(_)) {
            self.position = Position::Expired;
            return FailureKind::Expired;
        }
        match self.attempt {
            Attempt::List if T::OPTIONAL && failure.is_status(404) => FailureKind::Absent,
            Attempt::List => FailureKind::ListFailed,
            Attempt::Watch(lasted) if lasted >= STABLE => FailureKind::Interrupted,
            Attempt::Watch(_) => FailureKind::WatchFailed,
            Attempt::WatchRequest => {
                self.note_rejected_watch(failure);
                FailureKind::WatchFailed
            }
        }
    }

    /// Decides whether to list because a watch was not accepted, so that changes may get lost.
    fn note_rejected_watch(&mut self, failure: &Failure) {
        if matches!(failure, Failure::Rejected(_)) && !failure.is_overload() {
            self.short_watches = self.short_watches.saturating_add(1);
            self.must_list = self.short_watches >= MAX_FAILED_WATCHES;
        } else {
            // While the server is unavailable or overloaded, a list is no better than a watch.
            self.must_list = self.is_silent();
        }
    }

    /// Decides whether to list after the end of a watch: whether it `is_stable` and had events. A stable watch without
    /// events may just have had none to bring.
    pub(super) fn note_watch_end(&mut self, is_stable: bool, has_events: bool) {
        if is_stable {
            self.short_watches = 0;
            self.silent_watches = if has_events { 0 } else { self.silent_watches.saturating_add(1) };
        } else {
            self.short_watches = self.short_watches.saturating_add(1);
        }
        self.must_list = self.short_watches >= MAX_FAILED_WATCHES
            || self.silent_watches >= MAX_FAILED_WATCHES && self.is_silent();
    }

    /// Notes that a watch is stable, and whether it has brought events.
    pub(super) fn note_stable_watch(&mut self, has_events: bool) {
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
        self.short_watches < MAX_FAILED_WATCHES && self.silent_watches < MAX_FAILED_WATCHES
    }

    /// Whether neither a list nor an event, not even a bookmark, has arrived for a long time.
    fn is_silent(&self) -> bool {
        self.last_received.elapsed() >= self.client.timing.silence
    }

    fn log_failure(&self, failure: &Failure, failure_kind: FailureKind, wait: Duration) {
        let (server, kind) = (&*self.client.server, T::KIND);
        match failure_kind {
            FailureKind::Expired => {
                info!(server, kind, err = %failure, "Resource version expired; listing again");
            }
            FailureKind::Interrupted => warn!(server, kind, err = %failure, "Watch broke off; resuming it"),
            FailureKind::Absent => {
                info!(server, kind, retryAfter = ?wait, "API server does not have this kind");
            }
            FailureKind::WatchFailed | FailureKind::ListFailed => {
                let verb = if failure_kind == FailureKind::ListFailed { "list" } else { "watch" };
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

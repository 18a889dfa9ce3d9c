//! Removes the UDP flows of one family that the last plan made stale.
//!
//! A search through connection tracking can take as long as a full sync, so it runs on another thread and no apply
//! waits for it. Its result comes back to the loop, which compares each flow with the plan of that moment and removes
//! stale ones, a few at a time between two applies. The plan cannot change between the comparison and the removal.
//!
//! Searches start, and flows are removed, only while the current plan is programmed. A search covers what all plans
//! since the last search made stale. A flow that is kept because a later plan wants it is found again after that plan.
//!
//! A failed search is repeated with back-off.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portolan_core::backend::error_chain;
use portolan_core::flows::{FlowError, StaleFlow};
use portolan_core::{Backoff, FlowCheck, FlowCleaner, IpFamily, LogLimiter, State};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::DETAIL;
use crate::observer::FlowAttempt;
use crate::schedule::backoff;
use crate::settings::SyncSettings;

/// How many flows are removed before the loop does something else.
const REMOVED_AT_ONCE: usize = 128;

/// The stale flows of one family and what removes them.
pub(crate) struct FlowCleaning {
    family: IpFamily,
    /// Present unless a search is running.
    cleaner: Option<Box<dyn FlowCleaner>>,
    running: Option<JoinHandle<Searched>>,
    /// What the last search found and is not removed yet.
    removal: Option<Removal>,
    /// What the next search covers.
    pending: FlowCheck,
    /// When the next search may start, after a failed one.
    retry: Option<Instant>,
    backoff: Backoff,
    random: fn() -> f64,
    log: LogLimiter,
}

/// A search that has ended, with its cleaner.
pub(crate) struct Searched {
    cleaner: Box<dyn FlowCleaner>,
    check: FlowCheck,
    took: Duration,
    result: Result<Vec<StaleFlow>, FlowError>,
}

/// Flows that are being removed.
struct Removal {
    check: FlowCheck,
    /// How long the search and the removal have taken so far.
    took: Duration,
    found: Vec<StaleFlow>,
    removed: usize,
}

impl FlowCleaning {
    pub(crate) fn new(
        family: IpFamily,
        cleaner: Box<dyn FlowCleaner>,
        settings: &SyncSettings,
        random: fn() -> f64,
    ) -> Self {
        Self {
            family,
            cleaner: Some(cleaner),
            running: None,
            removal: None,
            pending: FlowCheck::default(),
            retry: None,
            backoff: backoff(settings.sync_period),
            random,
            log: LogLimiter::default(),
        }
    }

    /// Makes the next search cover `check`, too.
    pub(crate) fn search_for(&mut self, check: FlowCheck) {
        self.pending.merge(check);
    }

    /// When something is due, provided that the current plan is programmed; possibly in the past.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if self.removal.is_some() {
            return Some(now);
        }
        let can_search = self.running.is_none() && !self.pending.is_empty();
        can_search.then(|| self.retry.unwrap_or(now))
    }

    /// Starts a search, or removes some of what one found. The plan of `state` is programmed.
    pub(crate) fn run(&mut self, state: &State, now: Instant) -> Option<FlowAttempt> {
        let Some(removal) = self.removal.take() else {
            self.search(state);
            return None;
        };
        self.remove(removal, state, now)
    }

    /// Starts a search on another thread.
    fn search(&mut self, state: &State) {
        let Some(mut cleaner) = self.cleaner.take() else { return };
        let family = self.family;
        let mut check = std::mem::take(&mut self.pending);
        check.renew(state, family);
        self.retry = None;
        self.running = Some(spawn_blocking(move || {
            let began = Instant::now();
            let result = cleaner.find_stale(family, &check);
            Searched { cleaner, took: began.elapsed(), check, result }
        }));
    }

    /// Completes when the running search has ended; never if none is running.
    ///
    /// A panic of the search is resumed here.
    pub(crate) fn poll_searched(&mut self, context: &mut Context<'_>) -> Poll<Searched> {
        let Some(task) = &mut self.running else { return Poll::Pending };
        match ready!(Pin::new(task).poll(context)).map_err(JoinError::try_into_panic) {
            Ok(searched) => Poll::Ready(searched),
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime is shutting down, and this loop with it.
            Err(Err(_cancelled)) => Poll::Pending,
        }
    }

    /// Takes over the result of a search.
    pub(crate) fn searched(&mut self, search: Searched, now: Instant) -> Option<FlowAttempt> {
        let Searched { cleaner, check, took, result } = search;
        self.running = None;
        self.cleaner = Some(cleaner);
        match result {
            Ok(found) => {
                self.removal = Some(Removal { check, took, found, removed: 0 });
                None
            }
            Err(error) => Some(self.failed(check, took, error, now)),
        }
    }

    /// Removes some of the flows that contradict the plan.
    fn remove(&mut self, mut removal: Removal, state: &State, now: Instant) -> Option<FlowAttempt> {
        let rest = removal.found.len().saturating_sub(REMOVED_AT_ONCE);
        let mut some = removal.found.split_off(rest);
        some.retain(|flow| !flow.is_wanted(state, self.family));
        match self.cleaner.as_mut().map_or(Ok(0), |cleaner| cleaner.remove(self.family, &some)) {
            Ok(removed) => removal.removed += removed,
            Err(error) => return Some(self.failed(removal.check, removal.took, error, now)),
        }
        removal.took += now.elapsed();
        if !removal.found.is_empty() {
            self.removal = Some(removal);
            return None;
        }
        Some(self.succeeded(&removal, now))
    }

    fn succeeded(&mut self, removal: &Removal, now: Instant) -> FlowAttempt {
        let (family, removed, took) = (self.family, removal.removed, removal.took);
        self.backoff.reset();
        if let Some(outage) = self.log.succeed(now.into_std()) {
            let (failures, duration) = (outage.failures, outage.duration);
            info!(ipFamily = %family, failures, ?duration, "Removed stale UDP flows again after failures");
        }
        if removed > 0 {
            info!(target: DETAIL, ipFamily = %family, removed, duration = ?took, "Removed stale UDP flows");
        }
        FlowAttempt { took, result: Ok(removed) }
    }

    /// Schedules a retry.
    fn failed(
        &mut self,
        mut check: FlowCheck,
        took: Duration,
        error: FlowError,
        now: Instant,
    ) -> FlowAttempt {
        let delay = self.backoff.fail((self.random)());
        self.retry = Some(now + delay);
        check.merge(std::mem::take(&mut self.pending));
        check.forget_endpoints();
        self.pending = check;
        let (family, err) = (self.family, error_chain(&error));
        if self.log.fail(&err, now.into_std()) {
            warn!(
                ipFamily = %family,
                err,
                retryAfter = ?delay,
                "Failed to remove stale UDP flows; clients may keep sending to removed endpoints"
            );
        } else {
            debug!(
                ipFamily = %family,
                err,
                retryAfter = ?delay,
                "Failed to remove stale UDP flows; clients may keep sending to removed endpoints"
            );
        }
        FlowAttempt { took, result: Err(error) }
    }
}

//! Removing the UDP flows of one family that its last plan made stale.
//!
//! A search through connection tracking can take as long as an apply of everything, so it
//! happens on a thread beside the loop. No apply waits for it. What it finds comes back to the loop,
//! which judges each flow by the plan that it has by then and removes it, a few at a time between
//! two applies: no plan can change between the judgement and the removal.
//!
//! Searches begin, and flows are removed, while the newest plan is programmed: one that is not may never be. A
//! search looks for what all plans since the last one made stale. So what is left because a later plan wants it is
//! found again after that plan.
//!
//! A search that fails is repeated when the back-off allows it.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portolan_core::flows::{FlowError, StaleFlow};
use portolan_core::{FlowCheck, FlowCleaner, IpFamily, State};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tracing::info;

use crate::DETAIL;
use crate::backoff::Backoff;
use crate::failures::Failures;
use crate::settings::SyncSettings;

/// How many flows are removed before the loop looks at other things again.
const REMOVED_AT_ONCE: usize = 128;

/// The stale flows of one family and what removes them.
pub(crate) struct FlowCleaning {
    family: IpFamily,
    /// There unless a search is running.
    cleaner: Option<Box<dyn FlowCleaner>>,
    running: Option<JoinHandle<Searched>>,
    /// What the last search found.
    removal: Option<Removal>,
    /// What the next search looks for.
    asked: FlowCheck,
    /// When the next search may begin, after one that failed.
    retry: Option<Instant>,
    backoff: Backoff,
    failures: Failures,
}

/// A search that has ended, with what made it.
pub(crate) struct Searched {
    cleaner: Box<dyn FlowCleaner>,
    check: FlowCheck,
    took: Duration,
    result: Result<Vec<StaleFlow>, FlowError>,
}

/// Flows on their way out.
struct Removal {
    check: FlowCheck,
    /// How long the search and the removal have taken so far.
    took: Duration,
    found: Vec<StaleFlow>,
    removed: usize,
}

/// How a search and the removal of what it found went.
pub(crate) struct Ended {
    pub(crate) took: Duration,
    /// How many flows were removed.
    pub(crate) result: Result<usize, FlowError>,
}

impl FlowCleaning {
    pub(crate) fn new(
        family: IpFamily,
        cleaner: Box<dyn FlowCleaner>,
        settings: &SyncSettings,
        chance: fn() -> f64,
    ) -> Self {
        Self {
            family,
            cleaner: Some(cleaner),
            running: None,
            removal: None,
            asked: FlowCheck::default(),
            retry: None,
            backoff: Backoff::new(settings.sync_period, chance),
            failures: Failures::default(),
        }
    }

    /// Has the next search look for this, too.
    pub(crate) fn ask(&mut self, check: FlowCheck) {
        self.asked.merge(check);
    }

    /// When there is something to do, as long as the newest plan is programmed; possibly in the past.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if self.removal.is_some() {
            return Some(now);
        }
        let can_search = self.running.is_none() && !self.asked.is_empty();
        can_search.then(|| self.retry.unwrap_or(now))
    }

    /// Does the next step: begins a search, or removes some of what one found. The plan of `state` is programmed.
    pub(crate) fn act(&mut self, state: &State, now: Instant) -> Option<Ended> {
        let Some(removal) = self.removal.take() else {
            self.search(state);
            return None;
        };
        self.remove(removal, state, now)
    }

    /// Begins to search beside the loop.
    fn search(&mut self, state: &State) {
        let Some(mut cleaner) = self.cleaner.take() else { return };
        let family = self.family;
        let mut check = std::mem::take(&mut self.asked);
        check.renew(state, family);
        self.retry = None;
        self.running = Some(spawn_blocking(move || {
            let began = Instant::now();
            let result = cleaner.find_stale(family, &check);
            Searched { cleaner, took: began.elapsed(), check, result }
        }));
    }

    /// Waits for the search that is running; for ever if there is none.
    ///
    /// A panic over there becomes one here.
    pub(crate) fn poll_searched(&mut self, context: &mut Context<'_>) -> Poll<Searched> {
        let Some(task) = &mut self.running else { return Poll::Pending };
        match ready!(Pin::new(task).poll(context)).map_err(JoinError::try_into_panic) {
            Ok(searched) => Poll::Ready(searched),
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime is going down, and this loop with it.
            Err(Err(_cancelled)) => Poll::Pending,
        }
    }

    /// Takes back the cleaner and what it found.
    pub(crate) fn searched(&mut self, search: Searched, now: Instant) -> Option<Ended> {
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

    /// Removes some of the flows that the plan does not want.
    fn remove(&mut self, mut removal: Removal, state: &State, now: Instant) -> Option<Ended> {
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

    fn succeeded(&mut self, removal: &Removal, now: Instant) -> Ended {
        let (family, removed, took) = (self.family, removal.removed, removal.took);
        self.backoff.reset();
        self.failures.flows_recovered(family, now);
        if removed > 0 {
            info!(target: DETAIL, %family, removed, took = ?took, "stale UDP flows are removed");
        }
        Ended { took, result: Ok(removed) }
    }

    /// Plans a retry.
    fn failed(&mut self, mut check: FlowCheck, took: Duration, error: FlowError, now: Instant) -> Ended {
        let wait = self.backoff.fail().retry;
        self.retry = Some(now + wait);
        check.merge(std::mem::take(&mut self.asked));
        check.forget_endpoints();
        self.asked = check;
        self.failures.flows_failed(self.family, &error, wait, now);
        Ended { took, result: Err(error) }
    }
}

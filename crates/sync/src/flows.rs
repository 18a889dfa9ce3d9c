//! Removing the UDP flows of one family that its last plan made stale.
//!
//! A look through connection tracking can take as long as an apply of everything, so it
//! happens on a thread beside the loop: other families are applied meanwhile, and a loop
//! that is asked to stop does not wait for it.
//!
//! Always holds: flows are judged by the plan that is in force. While they are, no service
//! port of UDP is applied to this family, because a flow that the next plan wants would
//! be taken for a stale one. All else that calls for no search of its own is.
//!
//! A failure leaves nobody knowing which flows went, so after one everything is compared, when the
//! back-off allows it and the plan in force is the present one. What the plan does not serve any more it
//! does not know, so the checks that failed, or waited meanwhile, are kept and made up for.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portolan_core::flows::FlowError;
use portolan_core::{ChangeSet, FlowCheck, FlowCleaner, IpFamily, NodePlan, Protocol};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tracing::info;

use crate::DETAIL;
use crate::backoff::Backoff;
use crate::failures::Failures;
use crate::settings::SyncSettings;

/// The stale flows of one family and who removes them.
pub(crate) struct FlowCleaning {
    family: IpFamily,
    /// There unless a check is going on.
    idle: Option<Box<dyn FlowCleaner>>,
    running: Option<JoinHandle<Ended>>,
    backoff: Backoff,
    failures: Failures,
    /// When everything may be compared, because a check has failed.
    owed: Option<Instant>,
    /// What the next check of everything has to make up for.
    missed: FlowCheck,
}

/// A check that has ended, with who made it.
pub(crate) struct Ended {
    cleaner: Box<dyn FlowCleaner>,
    check: FlowCheck,
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
            idle: Some(cleaner),
            running: None,
            backoff: Backoff::new(settings.sync_period, chance),
            failures: Failures::default(),
            owed: None,
            missed: FlowCheck::default(),
        }
    }

    /// What to check once `plan` is in force, which differs by `changes` from the one before;
    /// nothing yet while a failed check waits for its retry, which will cover this one too.
    pub(crate) fn check(&mut self, plan: &NodePlan, changes: &ChangeSet, now: Instant) -> Option<FlowCheck> {
        match self.owed {
            None if changes.is_complete() => Some(self.check_all(plan)),
            None => Some(FlowCheck::after(plan, changes)),
            Some(due) => {
                self.miss(plan, changes);
                (due <= now).then(|| self.check_all(plan))
            }
        }
    }

    /// A check of all that `plan` serves, and of what earlier ones missed.
    pub(crate) fn check_all(&mut self, plan: &NodePlan) -> FlowCheck {
        let mut check = FlowCheck::after(plan, &ChangeSet::complete());
        check.make_up_for(std::mem::take(&mut self.missed));
        check
    }

    /// Keeps what `changes` would have called for: the next check is one of everything, and to
    /// that they are not known.
    pub(crate) fn miss(&mut self, plan: &NodePlan, changes: &ChangeSet) {
        let mut check = FlowCheck::after(plan, changes);
        check.make_up_for(std::mem::take(&mut self.missed));
        self.missed = check;
    }

    /// When everything must be compared because a check has failed.
    pub(crate) fn owed(&self) -> Option<Instant> {
        self.owed
    }

    /// Whether a check is going on.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begins to remove what is stale by `check`, beside the loop.
    pub(crate) fn start(&mut self, check: FlowCheck, now: Instant) {
        self.owed = None;
        if check.is_empty() {
            self.recovered(now);
            return;
        }
        let Some(mut cleaner) = self.idle.take() else {
            // Not met as long as applies wait as they should; nothing is lost even so.
            (self.owed, self.missed) = (Some(now), check);
            return;
        };
        let family = self.family;
        self.running = Some(spawn_blocking(move || {
            let began = Instant::now();
            let result = cleaner.remove_stale(family, &check);
            Ended { cleaner, took: began.elapsed(), check, result }
        }));
    }

    /// Waits for the check that is going on; for ever if there is none.
    ///
    /// A panic over there becomes one here.
    pub(crate) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        let Some(task) = &mut self.running else { return Poll::Pending };
        match ready!(Pin::new(task).poll(context)).map_err(JoinError::try_into_panic) {
            Ok(ended) => Poll::Ready(ended),
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime is going down, and this loop with it.
            Err(Err(_cancelled)) => Poll::Pending,
        }
    }

    /// Takes back the cleaner, and plans a retry if it failed.
    pub(crate) fn ended(&mut self, ended: Ended, now: Instant) {
        self.running = None;
        self.idle = Some(ended.cleaner);
        let family = self.family;
        match ended.result {
            Ok(removed) => {
                self.recovered(now);
                if removed > 0 {
                    info!(target: DETAIL, %family, removed, took = ?ended.took, "stale UDP flows are removed");
                }
            }
            Err(error) => {
                let wait = self.backoff.fail().retry;
                (self.owed, self.missed) = (Some(now + wait), ended.check);
                self.failures.flows_failed(family, &error, wait, now);
            }
        }
    }

    fn recovered(&mut self, now: Instant) {
        self.backoff.reset();
        self.failures.flows_recovered(self.family, now);
    }
}

/// Whether flows that are judged by the plan in force could be wanted by the next one, or
/// that one could call for a search of its own.
pub(crate) fn touches_flows(changes: &ChangeSet) -> bool {
    let is_udp = || changes.service_ports().any(|(name, _)| name.protocol == Protocol::Udp);
    changes.is_complete() || is_udp()
}

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
//! A failure leaves nobody knowing which flows were to go, so after one everything is
//! compared, when the back-off allows it and the plan in force is the present one.

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
}

/// A check that has ended, with who made it.
pub(crate) struct Ended {
    cleaner: Box<dyn FlowCleaner>,
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
            backoff: Backoff::new(settings.retry_period, chance),
            failures: Failures::default(),
            owed: None,
        }
    }

    /// What to check once `plan` is in force, which differs by `changes` from the one before;
    /// nothing yet while a failed check waits for its retry, which will cover this one too.
    pub(crate) fn check(&self, plan: &NodePlan, changes: &ChangeSet, now: Instant) -> Option<FlowCheck> {
        match self.owed {
            Some(due) if due > now => None,
            Some(_) => Some(FlowCheck::after(plan, &ChangeSet::complete())),
            None => Some(FlowCheck::after(plan, changes)),
        }
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
            self.owed = Some(now);
            return;
        };
        let family = self.family;
        self.running = Some(spawn_blocking(move || {
            let began = Instant::now();
            let result = cleaner.remove_stale(family, &check);
            Ended { cleaner, took: began.elapsed(), result }
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
                self.owed = Some(now + wait);
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

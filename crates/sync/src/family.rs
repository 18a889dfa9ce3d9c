//! One family: its backend, its schedule, and one apply.

use std::time::{Duration, SystemTime};

use portolan_core::backend::{Retry, Scope};
use portolan_core::state::Committed;
use portolan_core::{ApplyReport, BackendError, IpFamily, ProxyBackend, State};
use tokio::time::Instant;
use tracing::{info, trace};

use crate::DETAIL;
use crate::failures::Failures;
use crate::observer::{Attempt, SyncObserver};
use crate::programming::latencies;
use crate::schedule::Schedule;
use crate::settings::SyncSettings;

/// One family: its backend and what is known about applying it.
pub(crate) struct FamilySync {
    pub(crate) family: IpFamily,
    backend: Box<dyn ProxyBackend>,
    schedule: Schedule,
    failures: Failures,
    started: SystemTime,
    /// Whether any apply has succeeded.
    was_applied: bool,
    /// Whether the observer was told that changes wait.
    is_queued: bool,
}

impl FamilySync {
    pub(crate) fn new(
        family: IpFamily,
        backend: Box<dyn ProxyBackend>,
        settings: &SyncSettings,
        chance: fn() -> f64,
    ) -> Self {
        Self {
            family,
            backend,
            schedule: Schedule::new(settings, Instant::now(), chance),
            failures: Failures::default(),
            started: settings.started,
            was_applied: false,
            is_queued: false,
        }
    }

    /// When to apply next; possibly in the past.
    pub(crate) fn next(&self, state: &State) -> Option<Instant> {
        self.schedule.next(!state.changes(self.family).is_empty())
    }

    /// Whether the kernel holds the present plan.
    pub(crate) fn is_in_force(&self, state: &State) -> bool {
        !self.schedule.is_failing() && state.changes(self.family).is_empty()
    }

    /// Takes note that events have come in and the state is prepared.
    pub(crate) fn changed(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        if !state.changes(self.family).is_empty() {
            self.schedule.changed();
            self.is_queued = true;
            observer.queued(self.family);
        } else if self.is_in_force(state) {
            // Nothing to write: the changes, if any, cancelled each other out.
            let committed = state.committed(self.family);
            if self.is_queued || committed != Committed::default() {
                self.report_in_force(committed, observer);
            }
        }
    }

    /// Makes one attempt to bring the plan into force.
    pub(crate) async fn apply(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        if self.schedule.is_full_due(Instant::now()) {
            state.forget_applied(self.family);
        }
        let changes = state.changes(self.family);
        let scope = if changes.is_complete() { Scope::Full } else { Scope::Partial };
        trace!(family = %self.family, ?scope, service_ports = changes.len(), "applying");
        let began = Instant::now();
        let result = self.backend.apply(state.plan(self.family), changes).await;
        let now = Instant::now();
        let took = now - began;
        let scope = result.as_ref().map_or(scope, |report| widest(scope, report.scope));
        observer.attempted(self.family, &Attempt { scope, took, result: result.as_ref() });
        match result {
            Ok(report) => {
                let committed = state.committed(self.family);
                self.schedule.succeeded(now, scope == Scope::Full, report.follow_up);
                self.failures.recovered(self.family, now);
                self.log_success(state, &report, scope, took);
                self.report_in_force(committed, observer);
            }
            Err(error) => self.fail(state, &error, now),
        }
    }

    fn fail(&mut self, state: &mut State, error: &BackendError, now: Instant) {
        let retry = error.retry();
        if retry == Retry::CompareAll {
            state.forget_applied(self.family);
        }
        let wait = self.schedule.failed(now, retry);
        self.failures.failed(self.family, error, wait, now);
    }

    fn report_in_force(&mut self, committed: Committed, observer: &mut dyn SyncObserver) {
        for latency in latencies(committed.triggers, self.started, SystemTime::now()) {
            observer.programmed(self.family, latency);
        }
        self.is_queued = false;
        observer.in_force(self.family);
    }

    fn log_success(&mut self, state: &State, report: &ApplyReport, scope: Scope, took: Duration) {
        let (family, service_ports) = (self.family, state.plan(self.family).service_ports.len());
        let ApplyReport { operations, transactions, longest_transaction, .. } = *report;
        if !self.was_applied {
            info!(%family, service_ports, operations, took = ?took, "rules are in force");
            self.was_applied = true;
        } else if operations > 0 || scope == Scope::Full {
            info!(
                target: DETAIL,
                %family,
                ?scope,
                operations,
                transactions,
                longest_transaction = ?longest_transaction,
                took = ?took,
                "rules are up to date"
            );
        }
    }
}

/// A backend may compare more than it was asked to, never less.
fn widest(asked: Scope, done: Scope) -> Scope {
    if asked == Scope::Full { Scope::Full } else { done }
}

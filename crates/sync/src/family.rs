//! One family: its backend, its schedule, and one apply.

use std::time::{Duration, SystemTime};

use portolan_core::backend::{Retry, Scope};
use portolan_core::state::Committed;
use portolan_core::{ApplyReport, BackendError, ChangeSet, FlowCheck, IpFamily, ProxyBackend, State};
use tokio::time::Instant;
use tracing::{info, trace};

use crate::DETAIL;
use crate::failures::Failures;
use crate::flows::{self, FlowCleaning, touches_flows};
use crate::observer::{Attempt, FlowAttempt, SyncObserver};
use crate::programming::latencies;
use crate::schedule::Schedule;
use crate::settings::{Configuration, SyncSettings};

/// One family: its backend and what is known about applying it.
pub(crate) struct FamilySync {
    pub(crate) family: IpFamily,
    backend: Box<dyn ProxyBackend>,
    schedule: Schedule,
    failures: Failures,
    /// Who removes stale flows, if anybody.
    pub(crate) flows: Option<FlowCleaning>,
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
            flows: None,
            started: settings.started,
            was_applied: false,
            is_queued: false,
        }
    }

    /// Takes over other periods.
    pub(crate) fn reconfigure(&mut self, configuration: &Configuration) {
        self.schedule.reconfigure(configuration.min_period, configuration.retry_period);
    }

    /// When there is something to do next; possibly in the past.
    pub(crate) fn next(&self, state: &State) -> Option<Instant> {
        self.next_apply(state).into_iter().chain(self.next_check(state)).min()
    }

    fn next_apply(&self, state: &State) -> Option<Instant> {
        let changes = state.changes(self.family);
        let would_touch_flows = || self.schedule.is_full_due(Instant::now()) || touches_flows(changes);
        let must_wait = self.flows.as_ref().is_some_and(FlowCleaning::is_running) && would_touch_flows();
        self.schedule.next(!changes.is_empty()).filter(|_| !must_wait)
    }

    /// When to repeat a failed check of flows: not while another plan than the present one is in force.
    fn next_check(&self, state: &State) -> Option<Instant> {
        self.flows.as_ref().and_then(FlowCleaning::owed).filter(|_| self.is_in_force(state))
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
                self.report_in_force(state, committed, observer);
            }
        }
    }

    /// Does what is due by now. Returns whether that was an apply.
    pub(crate) async fn act(&mut self, state: &mut State, observer: &mut dyn SyncObserver) -> bool {
        let now = Instant::now();
        let is_due = |next: Option<Instant>| next.is_some_and(|next| next <= now);
        if is_due(self.next_apply(state)) {
            self.apply(state, observer).await;
            return true;
        }
        if is_due(self.next_check(state)) {
            let check = FlowCheck::after(state.plan(self.family), &ChangeSet::complete());
            self.start_check(Some(check), now);
        }
        false
    }

    /// Takes note that a check of flows has ended.
    pub(crate) fn check_ended(&mut self, ended: flows::Ended, observer: &mut dyn SyncObserver) {
        let result = ended.result.as_ref().copied();
        observer.flows_checked(self.family, &FlowAttempt { took: ended.took, result });
        if let Some(flows) = &mut self.flows {
            flows.ended(ended, Instant::now());
        }
    }

    /// Makes one attempt to bring the plan into force.
    async fn apply(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        let is_full_due = self.schedule.is_full_due(Instant::now());
        let is_check = is_full_due && state.changes(self.family).is_empty();
        if is_full_due {
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
        observer.attempted(self.family, &Attempt { scope, took, is_check, result: result.as_ref() });
        match result {
            Ok(report) => {
                let plan = state.plan(self.family);
                let check = self.flows.as_ref().and_then(|flows| flows.check(plan, changes, now));
                let committed = state.committed(self.family);
                self.schedule.succeeded(now, scope == Scope::Full, report.follow_up);
                self.failures.rules_recovered(self.family, now);
                self.log_success(state, &report, scope, took);
                self.report_in_force(state, committed, observer);
                self.start_check(check, now);
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
        self.failures.rules_failed(self.family, error, wait, now);
    }

    fn start_check(&mut self, check: Option<FlowCheck>, now: Instant) {
        if let (Some(flows), Some(check)) = (&mut self.flows, check) {
            flows.start(check, now);
        }
    }

    fn report_in_force(&mut self, state: &State, committed: Committed, observer: &mut dyn SyncObserver) {
        for latency in latencies(committed.triggers, self.started, SystemTime::now()) {
            observer.programmed(self.family, latency);
        }
        observer.without_local_endpoints(self.family, state.without_local_endpoints(self.family));
        self.is_queued = false;
        observer.in_force(self.family);
        let addresses = &state.plan(self.family).node.node_port_addresses;
        observer.health_checks(self.family, addresses, committed.health_checks);
    }

    fn log_success(&mut self, state: &State, report: &ApplyReport, scope: Scope, took: Duration) {
        let (family, service_ports) = (self.family, state.plan(self.family).service_ports.len());
        let ApplyReport { operations, transactions, longest_transaction, .. } = *report;
        if !self.was_applied {
            info!(
                %family,
                service_ports,
                operations,
                transactions,
                longest_transaction = ?longest_transaction,
                took = ?took,
                "rules are in force"
            );
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

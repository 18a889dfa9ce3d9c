//! One family: its backend, its schedule, and one apply.

use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use portolan_core::backend::{Retry, Scope};
use portolan_core::state::Committed;
use portolan_core::{ApplyReport, BackendError, ChangeSet, FlowCheck, IpFamily, ProxyBackend, State};
use tokio::time::Instant;
use tracing::{info, trace, warn};

use crate::DETAIL;
use crate::failures::Failures;
use crate::flows::{Ended, FlowCleaning, Searched};
use crate::observer::{Attempt, Cause, FlowAttempt, SyncObserver};
use crate::programming::latencies;
use crate::schedule::Schedule;
use crate::settings::{Configuration, SyncSettings};

/// One family: its backend and what is known about applying it.
pub(crate) struct FamilySync {
    pub(crate) family: IpFamily,
    backend: Box<dyn ProxyBackend>,
    schedule: Schedule,
    failures: Failures,
    /// Those of complete comparisons that left the rules as they were.
    comparisons: Failures,
    /// Those of looks whether the rules are there still.
    looks: Failures,
    /// What removes stale flows, if anything does.
    pub(crate) flows: Option<FlowCleaning>,
    started: SystemTime,
    /// Whether any apply has succeeded.
    was_applied: bool,
    /// Whether the rules were found gone, and are not written again yet.
    is_repairing: bool,
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
            comparisons: Failures::default(),
            looks: Failures::default(),
            flows: None,
            started: settings.started,
            was_applied: false,
            is_repairing: false,
            is_queued: false,
        }
    }

    /// Takes over other periods.
    pub(crate) fn reconfigure(&mut self, configuration: &Configuration) {
        self.schedule.reconfigure(configuration.min_period, configuration.sync_period);
    }

    /// When there is something to do next; possibly in the past.
    pub(crate) fn next(&self, state: &State) -> Option<Instant> {
        let others = [self.next_flows(state), self.next_look(state)].into_iter().flatten();
        self.next_apply(state).into_iter().chain(others).min()
    }

    fn next_apply(&self, state: &State) -> Option<Instant> {
        self.schedule.next(!state.changes(self.family).is_empty())
    }

    fn is_full_due(&self, state: &State) -> bool {
        self.schedule.is_full_due(Instant::now(), !state.changes(self.family).is_empty())
    }

    /// When to search for stale flows, or remove some: not while another plan than the newest is programmed.
    fn next_flows(&self, state: &State) -> Option<Instant> {
        self.flows.as_ref()?.next(Instant::now()).filter(|_| self.is_in_force(state))
    }

    /// When to look whether the rules are there still: not when everything is to be compared anyway.
    fn next_look(&self, state: &State) -> Option<Instant> {
        self.schedule.next_look().filter(|_| !state.changes(self.family).is_complete())
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
        let is_due = |next: Option<Instant>| next.is_some_and(|next| next <= Instant::now());
        let applies = is_due(self.next_apply(state));
        if applies {
            self.apply(state, observer).await;
        } else if is_due(self.next_look(state)) {
            self.look(state, observer).await;
        }
        // Even if one apply follows another without a pause.
        if is_due(self.next_flows(state)) {
            let ended = self.flows.as_mut().and_then(|flows| flows.act(state, Instant::now()));
            self.report_flows(ended, observer);
        }
        applies
    }

    /// Completes when another process may have changed the rules.
    pub(crate) fn poll_foreign_change(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.backend.poll_foreign_change(context)
    }

    /// Takes note that another process may have changed the rules.
    pub(crate) fn foreign_change(&mut self) {
        self.schedule.foreign_change(Instant::now());
    }

    /// Takes note that a search for stale flows has ended.
    pub(crate) fn searched(&mut self, searched: Searched, observer: &mut dyn SyncObserver) {
        let ended = self.flows.as_mut().and_then(|flows| flows.searched(searched, Instant::now()));
        self.report_flows(ended, observer);
    }

    fn report_flows(&self, ended: Option<Ended>, observer: &mut dyn SyncObserver) {
        if let Some(Ended { took, result }) = ended {
            observer.flows_checked(self.family, &FlowAttempt { took, result: result.as_ref().copied() });
        }
    }

    /// Makes one attempt to bring the plan into force.
    async fn apply(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        let everything = ChangeSet::complete();
        let is_comparison = self.is_full_due(state);
        let changes = if is_comparison { &everything } else { state.changes(self.family) };
        let scope = if changes.is_complete() { Scope::Full } else { Scope::Partial };
        let service_ports =
            if changes.is_complete() { state.plan(self.family).service_ports.len() } else { changes.len() };
        trace!(family = %self.family, ?scope, service_ports, "applying");
        let began = Instant::now();
        let result = self.backend.apply(state.plan(self.family), changes).await;
        let now = Instant::now();
        let took = now - began;
        let scope = result.as_ref().map_or(scope, |report| widest(scope, report.scope));
        let cause = self.cause(is_comparison && state.changes(self.family).is_empty());
        observer.attempted(self.family, &Attempt { scope, took, cause, result: result.as_ref() });
        match result {
            Ok(report) => {
                if is_comparison {
                    state.forget_applied(self.family);
                }
                self.schedule.succeeded(now, scope == Scope::Full, report.follow_up);
                self.recovered(scope, now);
                self.log_success(state, &report, scope, took);
                self.succeed(state, observer);
            }
            Err(error)
                if is_comparison && leaves_rules(&error) && !state.changes(self.family).is_complete() =>
            {
                let wait = self.schedule.comparison_failed(now, error.retry());
                self.comparisons.comparison_failed(self.family, &error, wait, now);
            }
            Err(error) => self.fail(state, &error, now),
        }
    }

    fn cause(&self, is_mere_comparison: bool) -> Cause {
        match is_mere_comparison {
            _ if self.is_repairing => Cause::Repair,
            true => Cause::Comparison,
            false => Cause::Changes,
        }
    }

    /// The present plan is in force.
    fn succeed(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        if let Some(flows) = &mut self.flows {
            flows.ask(FlowCheck::after(state.plan(self.family), state.changes(self.family)));
        }
        let committed = state.committed(self.family);
        self.report_in_force(state, committed, observer);
    }

    fn recovered(&mut self, scope: Scope, now: Instant) {
        self.is_repairing = false;
        self.failures.rules_recovered(self.family, now);
        if scope == Scope::Full {
            self.comparisons.comparison_recovered(self.family, now);
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

    /// Has the backend look whether the rules are there still, and everything compared if they are not.
    async fn look(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        let result = self.backend.is_intact().await;
        let now = Instant::now();
        self.schedule.looked(now, !matches!(result, Ok(false)));
        match result {
            Ok(is_intact) => {
                self.looks.look_recovered();
                if !is_intact {
                    warn!(
                        ipFamily = %self.family,
                        "Rules were changed or removed by another process; comparing and repairing them"
                    );
                    self.is_repairing = true;
                    observer.found_damaged(self.family);
                    state.forget_applied(self.family);
                }
            }
            Err(error) => self.looks.look_failed(self.family, &error, now),
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

/// Whether an attempt that ended so has left the rules, and what is known of them, as they were.
fn leaves_rules(error: &BackendError) -> bool {
    match error.retry() {
        Retry::Never | Retry::SameChanges | Retry::Unchanged => true,
        Retry::CompareAll => false,
    }
}

/// A backend may compare more than it was asked to, never less.
fn widest(asked: Scope, done: Scope) -> Scope {
    if asked == Scope::Full { Scope::Full } else { done }
}

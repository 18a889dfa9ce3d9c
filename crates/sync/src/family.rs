//! One IP family: its backend, its schedule, and its syncs.

use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use portolan_core::backend::{Retry, Scope, error_chain};
use portolan_core::state::Committed;
use portolan_core::{
    ApplyReport, BackendError, ChangeSet, FlowCheck, IpFamily, LogLimiter, ProxyBackend, State,
};
use tokio::time::Instant;
use tracing::{debug, error, info, trace, warn};

use crate::DETAIL;
use crate::flows::{FlowCleaning, Searched};
use crate::observer::{Attempt, Cause, FlowAttempt, SyncObserver};
use crate::schedule::Schedule;
use crate::settings::{Configuration, SyncSettings};

/// One IP family: its backend and how its syncs went.
pub(crate) struct FamilySync {
    pub(crate) family: IpFamily,
    backend: Box<dyn ProxyBackend>,
    schedule: Schedule,
    /// For failed syncs.
    sync_log: LogLimiter,
    /// For failed full syncs that left the rules unchanged.
    full_sync_log: LogLimiter,
    /// For failed integrity checks.
    check_log: LogLimiter,
    /// Removes stale flows, if anything does.
    pub(crate) flows: Option<FlowCleaning>,
    started: SystemTime,
    /// Whether the initial sync has succeeded.
    is_initialized: bool,
    /// Whether an integrity check failed and the rules are not repaired yet.
    is_repairing: bool,
    /// Whether changes were reported as queued and are not applied yet.
    is_queued: bool,
}

impl FamilySync {
    pub(crate) fn new(
        family: IpFamily,
        backend: Box<dyn ProxyBackend>,
        settings: &SyncSettings,
        random: fn() -> f64,
    ) -> Self {
        Self {
            family,
            backend,
            schedule: Schedule::new(settings, Instant::now(), random),
            sync_log: LogLimiter::default(),
            full_sync_log: LogLimiter::default(),
            check_log: LogLimiter::default(),
            flows: None,
            started: settings.started,
            is_initialized: false,
            is_repairing: false,
            is_queued: false,
        }
    }

    /// Changes the periods.
    pub(crate) fn reconfigure(&mut self, configuration: &Configuration) {
        self.schedule.reconfigure(configuration.min_period, configuration.sync_period);
    }

    /// When something is due next; possibly in the past.
    pub(crate) fn next(&self, state: &State) -> Option<Instant> {
        let others = [self.next_flows(state), self.next_check(state)].into_iter().flatten();
        self.next_sync(state).into_iter().chain(others).min()
    }

    fn next_sync(&self, state: &State) -> Option<Instant> {
        self.schedule.next(!state.changes(self.family).is_empty())
    }

    /// When to search for stale flows, or remove some: only while the current plan is programmed.
    fn next_flows(&self, state: &State) -> Option<Instant> {
        self.flows.as_ref()?.next(Instant::now()).filter(|_| self.is_synced(state))
    }

    /// When to run an integrity check: not if a full sync is pending.
    fn next_check(&self, state: &State) -> Option<Instant> {
        self.schedule.next_check().filter(|_| !state.changes(self.family).is_complete())
    }

    /// Whether the kernel has the current plan.
    pub(crate) fn is_synced(&self, state: &State) -> bool {
        !self.schedule.is_failing() && state.changes(self.family).is_empty()
    }

    /// Events have been handled and the state is prepared.
    pub(crate) fn changed(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        if !state.changes(self.family).is_empty() {
            self.schedule.changed();
            self.is_queued = true;
            observer.queued(self.family);
        } else if self.is_synced(state) {
            // Nothing to write: the changes, if any, cancelled each other out.
            let committed = state.committed(self.family);
            if self.is_queued || committed != Committed::default() {
                self.report_synced(state, committed, observer);
            }
        }
    }

    /// Does what is due. Returns whether that was a sync.
    pub(crate) async fn run_due(&mut self, state: &mut State, observer: &mut dyn SyncObserver) -> bool {
        let is_due = |next: Option<Instant>| next.is_some_and(|next| next <= Instant::now());
        let syncs = is_due(self.next_sync(state));
        if syncs {
            self.sync(state, observer).await;
        } else if is_due(self.next_check(state)) {
            self.check_integrity(state, observer).await;
        }
        // Even if one sync follows another without a pause.
        if is_due(self.next_flows(state)) {
            let attempt = self.flows.as_mut().and_then(|flows| flows.run(state, Instant::now()));
            self.report_flows(attempt, observer);
        }
        syncs
    }

    /// Completes when another process may have changed the rules.
    pub(crate) fn poll_foreign_change(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.backend.poll_foreign_change(context)
    }

    /// Another process may have changed the rules.
    pub(crate) fn foreign_change(&mut self) {
        self.schedule.foreign_change(Instant::now());
    }

    /// A search for stale flows has ended.
    pub(crate) fn searched(&mut self, searched: Searched, observer: &mut dyn SyncObserver) {
        let attempt = self.flows.as_mut().and_then(|flows| flows.searched(searched, Instant::now()));
        self.report_flows(attempt, observer);
    }

    fn report_flows(&self, attempt: Option<FlowAttempt>, observer: &mut dyn SyncObserver) {
        if let Some(attempt) = attempt {
            observer.flows_checked(self.family, &attempt);
        }
    }

    /// Makes one attempt to program the current plan.
    async fn sync(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        let everything = ChangeSet::complete();
        let has_changes = !state.changes(self.family).is_empty();
        let is_full_due = self.schedule.is_full_due(Instant::now(), has_changes);
        let changes = if is_full_due { &everything } else { state.changes(self.family) };
        let scope = if changes.is_complete() { Scope::Full } else { Scope::Partial };
        let service_ports =
            if changes.is_complete() { state.plan(self.family).service_ports.len() } else { changes.len() };
        trace!(ipFamily = %self.family, ?scope, servicePorts = service_ports, "Syncing rules");
        let began = Instant::now();
        let result = self.backend.apply(state.plan(self.family), changes).await;
        let now = Instant::now();
        let took = now - began;
        let scope = match &result {
            // A backend may compare more than it was asked to, never less.
            Ok(report) if scope == Scope::Partial => report.scope,
            _ => scope,
        };
        let cause = match is_full_due && !has_changes {
            _ if self.is_repairing => Cause::Repair,
            true => Cause::FullSync,
            false => Cause::Changes,
        };
        observer.attempted(self.family, &Attempt { scope, took, cause, result: result.as_ref() });
        match result {
            Ok(report) => {
                if is_full_due {
                    state.forget_applied(self.family);
                }
                self.schedule.succeeded(now, scope == Scope::Full, report.follow_up);
                self.is_repairing = false;
                self.log_success(state, &report, scope, took, now);
                self.succeeded(state, observer);
            }
            Err(error) => self.failed(state, &error, is_full_due, now),
        }
    }

    /// The current plan is programmed.
    fn succeeded(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        if let Some(flows) = &mut self.flows {
            flows.search_for(FlowCheck::after(state.plan(self.family), state.changes(self.family)));
        }
        let committed = state.committed(self.family);
        self.report_synced(state, committed, observer);
    }

    fn failed(&mut self, state: &mut State, error: &BackendError, is_full_due: bool, now: Instant) {
        let (family, retry, err) = (self.family, error.retry(), error_chain(error));
        let leaves_rules = retry != Retry::CompareAll;
        if is_full_due && leaves_rules && !state.changes(family).is_complete() {
            let delay = self.schedule.full_sync_failed(now, retry);
            if self.full_sync_log.fail(&err, now.into_std()) {
                warn!(
                    ipFamily = %family,
                    err,
                    retryAfter = ?delay,
                    "Failed to run full sync; changes are still synced"
                );
            } else {
                debug!(
                    ipFamily = %family,
                    err,
                    retryAfter = ?delay,
                    "Failed to run full sync; changes are still synced"
                );
            }
            return;
        }
        if !leaves_rules {
            state.forget_applied(family);
        }
        let delay = self.schedule.failed(now, retry);
        if self.sync_log.fail(&err, now.into_std()) {
            error!(
                ipFamily = %family,
                err,
                retryAfter = ?delay,
                "Failed to sync rules; previous rules remain in effect"
            );
        } else {
            debug!(
                ipFamily = %family,
                err,
                retryAfter = ?delay,
                "Failed to sync rules; previous rules remain in effect"
            );
        }
    }

    /// Has the backend check whether the rules are intact, and makes a full sync due if they are not.
    async fn check_integrity(&mut self, state: &mut State, observer: &mut dyn SyncObserver) {
        let (family, result) = (self.family, self.backend.is_intact().await);
        let now = Instant::now();
        self.schedule.checked(now, !matches!(result, Ok(false)));
        match result {
            Ok(is_intact) => {
                if let Some(outage) = self.check_log.succeed(now.into_std()) {
                    let (failures, duration) = (outage.failures, outage.duration);
                    info!(ipFamily = %family, failures, ?duration, "Checked rules again after failures");
                }
                if !is_intact {
                    warn!(
                        ipFamily = %family,
                        "Rules were changed or removed by another process; comparing and repairing them"
                    );
                    self.is_repairing = true;
                    observer.rules_damaged(family);
                    state.forget_applied(family);
                }
            }
            Err(error) => {
                let err = error_chain(&error);
                if self.check_log.fail(&err, now.into_std()) {
                    warn!(ipFamily = %family, err, "Failed to check rules for changes by other processes");
                }
            }
        }
    }

    fn report_synced(&mut self, state: &State, committed: Committed, observer: &mut dyn SyncObserver) {
        for latency in latencies(committed.triggers, self.started, SystemTime::now()) {
            observer.programmed(self.family, latency);
        }
        observer.without_local_endpoints(self.family, state.without_local_endpoints(self.family));
        self.is_queued = false;
        observer.synced(self.family);
        let addresses = &state.plan(self.family).node.node_port_addresses;
        observer.health_checks(self.family, addresses, committed.health_checks);
    }

    fn log_success(
        &mut self,
        state: &State,
        report: &ApplyReport,
        scope: Scope,
        duration: Duration,
        now: Instant,
    ) {
        let family = self.family;
        if let Some(outage) = self.sync_log.succeed(now.into_std()) {
            let (failures, duration) = (outage.failures, outage.duration);
            info!(ipFamily = %family, failures, ?duration, "Synced rules again after failures");
        }
        let is_full = scope == Scope::Full;
        if is_full && let Some(outage) = self.full_sync_log.succeed(now.into_std()) {
            let (failures, duration) = (outage.failures, outage.duration);
            info!(ipFamily = %family, failures, ?duration, "Completed full sync again after failures");
        }
        let ApplyReport { operations, transactions, longest_transaction, .. } = *report;
        if !self.is_initialized {
            info!(
                ipFamily = %family,
                servicePorts = state.plan(family).service_ports.len(),
                operations,
                transactions,
                longestTransaction = ?longest_transaction,
                ?duration,
                "Completed initial sync"
            );
            self.is_initialized = true;
        } else if operations > 0 || is_full {
            info!(
                target: DETAIL,
                ipFamily = %family,
                ?scope,
                operations,
                transactions,
                longestTransaction = ?longest_transaction,
                ?duration,
                "Synced rules"
            );
        }
    }
}

/// How long pod changes took until they were programmed (`network_programming_duration_seconds`): the time from each of
/// `triggers` to `now`, without those from before `started`. A trigger from the future, which the clock of another host
/// can produce, counts as zero.
fn latencies(
    triggers: Vec<SystemTime>,
    started: SystemTime,
    now: SystemTime,
) -> impl Iterator<Item = Duration> {
    let ours = triggers.into_iter().filter(move |trigger| *trigger >= started);
    ours.map(move |trigger| now.duration_since(trigger).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_ignores_triggers_before_the_start_and_is_zero_for_future_ones() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let triggers = vec![at(9), at(10), at(14), at(16)];
        let seconds: Vec<_> = latencies(triggers, at(10), at(15)).map(|latency| latency.as_secs()).collect();
        assert_eq!(seconds, [5, 1, 0]);
    }
}

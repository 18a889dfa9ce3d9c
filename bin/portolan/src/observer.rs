//! Joins what the sync loop does with metrics, health and load balancers' checks.

use std::time::{Duration, Instant, SystemTime};

use portolan_core::backend::{Metric, Retry, Scope, error_chain};
use portolan_core::event::{Change, Event, Node, Object};
use portolan_core::plan::NodePortAddresses;
use portolan_core::state::WithoutLocalEndpoints;
use portolan_core::{ApplyReport, BackendError, HealthCheck, IpFamily, ObjectName, PerFamily};
use portolan_health::service_health::ServiceHealth;
use portolan_health::{Health, NodeEligibility};
use portolan_metrics::{Metrics, SyncScope, Unexported, Written};
use portolan_source::EventRecorder;
use portolan_sync::{Attempt, Cause, FlowAttempt, SyncObserver};
use tokio::sync::oneshot;
use tracing::debug;

use crate::beside::Contention;
use crate::node_address::FamilyCheck;
use crate::reports;

/// For how long rules must have been failing before the cluster is told. An upgrade, where the old
/// proxy holds on to its tables until it ends, is over by then.
const FAILING_FOR: Duration = Duration::from_secs(5);

/// Tells metrics, health and the cluster what the loop does.
pub(crate) struct Observer {
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) service_health: ServiceHealth,
    pub(crate) events: EventRecorder,
    /// How many families are served.
    pub(crate) families: usize,
    pub(crate) family_check: FamilyCheck,
    /// Told when the rules of all families are in force for the first time.
    pub(crate) synced: Option<oneshot::Sender<()>>,
    pub(crate) failing: PerFamily<Option<Failing>>,
    /// Told of each repair.
    pub(crate) contention: Contention,
}

/// Attempts that fail, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Failing {
    since: Instant,
    /// Whether the cluster was told.
    is_told: bool,
}

impl Observer {
    fn failed(&mut self, family: IpFamily, problem: &BackendError, attempt: &Attempt<'_>) {
        let label = family.to_string();
        self.metrics.sync.failed(&label);
        self.export(&label, problem.metrics());
        // A comparison that fails before it has touched anything leaves rules that follow all changes.
        if attempt.cause != Cause::FullSync || problem.retry() == Retry::CompareAll {
            self.health.failed(family);
        }
        let new = Failing { since: Instant::now(), is_told: false };
        let failing = self.failing[family].get_or_insert(new);
        if !failing.is_told && failing.since.elapsed() >= FAILING_FOR {
            failing.is_told = true;
            self.events.record(reports::sync_failing(&family.to_string(), &error_chain(problem)));
        }
    }

    /// Exports what a backend reported.
    fn export(&self, label: &str, metrics: &[Metric]) {
        log_unexported(&self.metrics.backend.report(label, metrics));
    }

    fn recovered(&mut self, family: IpFamily) {
        if self.failing[family].take().is_some_and(|failing| failing.is_told) {
            self.events.record(reports::sync_recovered(&family.to_string()));
        }
    }
}

/// Logs what a backend reported and what cannot be exported.
pub(crate) fn log_unexported(metrics: &[Unexported]) {
    for unexported in metrics {
        debug!(err = %unexported, "Ignored a metric");
    }
}

/// Number of objects that a change is about.
fn size<T: Object>(change: &Change<T>) -> usize {
    match change {
        Change::Applied(_) | Change::Deleted(_) => 1,
        Change::Replaced(objects) => objects.len(),
    }
}

impl SyncObserver for Observer {
    fn started(&mut self, family: IpFamily) {
        let label = family.to_string();
        self.health.started(family);
        self.metrics.sync.started(&label);
        self.metrics.sync.queued(&label, SystemTime::now());
    }

    fn received(&mut self, event: &Event) {
        match event {
            Event::Service(change) => self.metrics.changes.services(size(change), self.families),
            Event::EndpointSlice(change) => self.metrics.changes.endpoint_slices(size(change)),
            Event::Node(_) | Event::ServiceCidr(_) | Event::ApiServer(_) => {}
        }
    }

    fn node(&mut self, node: &Node) {
        let leaving = NodeEligibility::Ineligible;
        self.family_check.node(node);
        self.health.set_node(if node.leaving { leaving } else { NodeEligibility::Eligible });
    }

    fn queued(&mut self, family: IpFamily) {
        self.health.queued(family);
        self.metrics.sync.queued(&family.to_string(), SystemTime::now());
    }

    fn attempted(&mut self, family: IpFamily, attempt: &Attempt<'_>) {
        let label = family.to_string();
        let scope = match attempt.scope {
            Scope::Full => SyncScope::Full,
            Scope::Partial => SyncScope::Partial,
        };
        self.metrics.sync.attempted(&label, scope, attempt.took);
        match attempt.result {
            Ok(report) => {
                self.recovered(family);
                let ApplyReport { operations, messages, bytes, longest_transaction, .. } = *report;
                let written = Written { operations, messages, bytes, longest_transaction };
                self.metrics.sync.wrote(&label, &written);
                match attempt.cause {
                    Cause::Changes => {}
                    Cause::FullSync | Cause::Repair => self.metrics.sync.drifted(&label, report.operations),
                }
                self.export(&label, &report.metrics);
                let removals = u64::try_from(report.failed_removals).unwrap_or(u64::MAX);
                self.export(&label, &[Metric::increment("portolan_failed_removals_total", removals)]);
            }
            Err(problem) => self.failed(family, problem, attempt),
        }
    }

    fn rules_damaged(&mut self, family: IpFamily) {
        self.health.removed(family);
        self.metrics.sync.rules_damaged(&family.to_string());
        self.contention.repaired(family, tokio::time::Instant::now());
    }

    fn programmed(&mut self, family: IpFamily, after: Duration) {
        self.metrics.sync.programmed(&family.to_string(), after);
    }

    fn without_local_endpoints(&mut self, family: IpFamily, count: WithoutLocalEndpoints) {
        let WithoutLocalEndpoints { internal, external } = count;
        self.metrics.sync.without_local_endpoints(&family.to_string(), internal, external);
    }

    fn synced(&mut self, family: IpFamily) {
        self.health.updated(family);
        self.metrics.sync.synced(&family.to_string(), SystemTime::now());
    }

    fn health_checks(
        &mut self,
        family: IpFamily,
        addresses: &NodePortAddresses,
        changed: Vec<(ObjectName, Option<HealthCheck>)>,
    ) {
        self.service_health.update(family, addresses, changed);
    }

    fn flows_checked(&mut self, family: IpFamily, attempt: &FlowAttempt) {
        let family = family.to_string();
        match attempt.result {
            Ok(removed) => self.metrics.flows.removed(&family, removed, attempt.took),
            Err(_) => self.metrics.flows.failed(&family),
        }
    }

    fn all_synced(&mut self) {
        self.metrics.changes.all_synced();
        if let Some(synced) = self.synced.take() {
            // Nobody waits for it when the process is ending already.
            let _ = synced.send(());
        }
    }
}

#[cfg(test)]
mod tests;

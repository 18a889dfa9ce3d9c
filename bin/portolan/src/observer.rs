//! Joins what the sync loop does with metrics, health and load balancers' checks.

use std::time::{Duration, SystemTime};

use portolan_core::backend::Scope;
use portolan_core::event::{Change, Event, Node, Object};
use portolan_core::plan::NodePortAddresses;
use portolan_core::state::WithoutLocalEndpoints;
use portolan_core::{HealthCheck, IpFamily, ObjectName, ProxyMode};
use portolan_health::service_health::ServiceHealth;
use portolan_health::{Health, NodeEligibility};
use portolan_metrics::{Metrics, SyncScope};
use portolan_sync::{Attempt, FlowAttempt, SyncObserver};

/// Tells metrics and health what the loop does.
pub(crate) struct Observer {
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) service_health: ServiceHealth,
    pub(crate) mode: ProxyMode,
    /// How many families are served.
    pub(crate) families: usize,
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
        self.health.started(family);
        self.metrics.sync.queued(&family.to_string(), SystemTime::now());
    }

    fn received(&mut self, event: &Event) {
        match event {
            Event::Service(change) => self.metrics.changes.services(size(change), self.families),
            Event::EndpointSlice(change) => self.metrics.changes.endpoint_slices(size(change)),
            Event::Node(_) | Event::ServiceCidr(_) => {}
        }
    }

    fn node(&mut self, node: &Node) {
        let leaving = NodeEligibility::Ineligible;
        self.health.set_node(if node.leaving { leaving } else { NodeEligibility::Eligible });
    }

    fn queued(&mut self, family: IpFamily) {
        self.health.queued(family);
        self.metrics.sync.queued(&family.to_string(), SystemTime::now());
    }

    fn attempted(&mut self, family: IpFamily, attempt: &Attempt<'_>) {
        let family = family.to_string();
        let scope = match attempt.scope {
            Scope::Full => SyncScope::Full,
            Scope::Partial => SyncScope::Partial,
        };
        self.metrics.sync.attempted(&family, scope, attempt.took);
        match attempt.result {
            Ok(report) => self.metrics.sync.wrote(&family, report.operations, report.longest_transaction),
            Err(_) if self.mode == ProxyMode::NFTABLES => self.metrics.sync.nftables_sync_failed(&family),
            Err(_) => {}
        }
    }

    fn programmed(&mut self, family: IpFamily, after: Duration) {
        self.metrics.sync.programmed(&family.to_string(), after);
    }

    fn without_local_endpoints(&mut self, family: IpFamily, count: WithoutLocalEndpoints) {
        let WithoutLocalEndpoints { internal, external } = count;
        self.metrics.sync.without_local_endpoints(&family.to_string(), internal, external);
    }

    fn in_force(&mut self, family: IpFamily) {
        self.health.updated(family);
        self.metrics.sync.synced(&family.to_string(), SystemTime::now());
    }

    fn health_checks(
        &mut self,
        family: IpFamily,
        addresses: &NodePortAddresses,
        changed: Vec<(ObjectName, Option<HealthCheck>)>,
    ) {
        self.service_health.tell(family, addresses, changed);
    }

    fn flows_checked(&mut self, family: IpFamily, attempt: &FlowAttempt<'_>) {
        let family = family.to_string();
        match attempt.result {
            Ok(removed) => self.metrics.flows.removed(&family, removed, attempt.took),
            Err(_) => self.metrics.flows.failed(&family),
        }
    }

    fn settled(&mut self) {
        self.metrics.changes.settled();
    }
}

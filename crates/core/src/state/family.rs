//! The state of one IP family: the plan, its difference from the applied one, and what is reported after the next
//! apply.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use crate::address::Protocol;
use crate::changes::ChangeSet;
use crate::event::TrafficPolicy;
use crate::name::{Name, ObjectName, ServicePortName};
use crate::plan::{HealthCheck, NodePlan, NodeSettings, ServicePort, Unserved};
use crate::vip_owners::VipOwners;

/// Most trigger times kept for one Service, while plans cannot be applied.
const MAX_TRIGGERS: usize = 100;

/// What an applied plan changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// When the pod changes happened that are now programmed, for `network_programming_duration_seconds`.
    pub triggers: Vec<SystemTime>,
    /// The health checks that changed; `None` for those that were removed.
    pub health_checks: Vec<(ObjectName, Option<HealthCheck>)>,
}

/// How many service ports have endpoints on other nodes but none on this one that their policy allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WithoutLocalEndpoints {
    /// By their internal traffic policy.
    pub internal: usize,
    /// By their external traffic policy.
    pub external: usize,
}

#[derive(Debug)]
pub(super) struct FamilyState {
    pub(super) plan: NodePlan,
    pub(super) changes: ChangeSet,
    pub(super) owners: VipOwners,
    pub(super) without_local: WithoutLocalEndpoints,
    triggers: HashMap<ObjectName, Vec<SystemTime>>,
    health_checks: HashMap<ObjectName, HealthCheck>,
    /// Services whose health check has changed since the last report.
    changed_checks: HashSet<ObjectName>,
}

impl FamilyState {
    /// A state with `plan`, which was not applied.
    pub(super) fn new(plan: NodePlan) -> Self {
        Self {
            plan,
            changes: ChangeSet::complete(),
            owners: VipOwners::default(),
            without_local: WithoutLocalEndpoints::default(),
            triggers: HashMap::new(),
            health_checks: HashMap::new(),
            changed_checks: HashSet::new(),
        }
    }

    /// Makes the capacity sufficient for this many service ports in all.
    pub(super) fn reserve(&mut self, ports: usize) {
        self.owners.reserve(ports);
        self.plan.service_ports.reserve(ports.saturating_sub(self.plan.service_ports.len()));
    }

    /// Makes `ports` the only ones of `service` in the plan, which has no others than `known` so far.
    pub(super) fn set_ports<'a>(
        &mut self,
        service: &ObjectName,
        known: impl Iterator<Item = (&'a Name, Protocol)>,
        ports: Vec<(ServicePortName, ServicePort)>,
    ) {
        let wanted: HashSet<_> = ports.iter().map(|(name, _)| (&name.port, name.protocol)).collect();
        for (port, protocol) in known {
            if !wanted.contains(&(port, protocol)) {
                let (service, port) = (service.clone(), port.clone());
                self.set(ServicePortName { service, port, protocol }, None);
            }
        }
        for (port, wanted) in ports {
            self.set(port, Some(wanted));
        }
    }

    /// Adds one service port to the plan, or removes it, and records the difference.
    fn set(&mut self, name: ServicePortName, wanted: Option<ServicePort>) {
        let old = self.plan.service_ports.get(&name).cloned();
        if old.as_deref() == wanted.as_ref() {
            return;
        }
        self.without_local.uncount(old.as_deref());
        self.without_local.count(wanted.as_ref());
        let wanted = wanted.map(Arc::new);
        self.changes.record(&name, old, wanted.as_ref());
        match wanted {
            Some(port) => self.plan.service_ports.insert(name, port),
            None => self.plan.service_ports.remove(&name),
        };
    }

    /// Sets the node's settings in the plan and records the difference.
    pub(super) fn set_node(&mut self, settings: NodeSettings) {
        if self.plan.node != settings {
            let old = std::mem::replace(&mut self.plan.node, settings);
            self.changes.record_node(old, &self.plan.node);
        }
    }

    /// Sets the health check of a Service.
    pub(super) fn set_health_check(&mut self, service: &ObjectName, check: Option<HealthCheck>) {
        let old = match check {
            Some(check) => self.health_checks.insert(service.clone(), check),
            None => self.health_checks.remove(service),
        };
        if old != check {
            self.changed_checks.insert(service.clone());
        }
    }

    /// Adds the time of the pod change that a slice of `service` reports.
    pub(super) fn add_trigger(&mut self, service: &ObjectName, time: SystemTime) {
        let times = self.triggers.entry(service.clone()).or_default();
        if times.len() < MAX_TRIGGERS {
            times.push(time);
        }
    }

    /// Drops the times of a Service that lost a slice: which of them belong to the slice is unknown.
    pub(super) fn drop_triggers(&mut self, service: &ObjectName) {
        self.triggers.remove(service);
    }

    /// Whether no Service is left.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.plan.service_ports.is_empty()
            && self.owners.is_empty()
            && self.triggers.is_empty()
            && self.health_checks.is_empty()
            && self.changed_checks.is_empty()
    }

    pub(super) fn committed(&mut self) -> Committed {
        self.changes = ChangeSet::default();
        let checks = std::mem::take(&mut self.changed_checks).into_iter();
        Committed {
            triggers: std::mem::take(&mut self.triggers).into_values().flatten().collect(),
            health_checks: checks
                .map(|name| (name.clone(), self.health_checks.get(&name).copied()))
                .collect(),
        }
    }
}

impl WithoutLocalEndpoints {
    fn count(&mut self, port: Option<&ServicePort>) {
        let (internal, external) = port.map_or((false, false), lacks_local);
        self.internal += usize::from(internal);
        self.external += usize::from(external);
    }

    fn uncount(&mut self, port: Option<&ServicePort>) {
        let (internal, external) = port.map_or((false, false), lacks_local);
        self.internal -= usize::from(internal);
        self.external -= usize::from(external);
    }
}

fn lacks_local(port: &ServicePort) -> (bool, bool) {
    let is_elsewhere = port.unserved == Unserved::Drop && port.local_endpoints.is_empty();
    let is_local = |policy| is_elsewhere && policy == TrafficPolicy::Local;
    (is_local(port.internal_traffic_policy), port.is_external() && is_local(port.external_traffic_policy))
}

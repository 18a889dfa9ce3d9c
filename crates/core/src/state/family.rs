//! What a state keeps for one family: the plan, how it differs from the one in force, and
//! what is told once it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use crate::address::Protocol;
use crate::changes::ChangeSet;
use crate::claims::Claims;
use crate::event::TrafficPolicy;
use crate::health_check::HealthCheck;
use crate::name::{Name, ObjectName, ServicePortName};
use crate::plan::{NodePlan, NodeSettings, ServicePort, Unserved};
use crate::room::Room;

/// The most trigger times kept for one Service; while nothing can be applied they would pile up.
const MAX_TRIGGERS: usize = 100;

/// What a plan that came into force brought with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// When the pod changes happened that are now in force, for
    /// `network_programming_duration_seconds`.
    pub triggers: Vec<SystemTime>,
    /// The health checks that changed, and what they are now; `None` for those that are gone.
    pub health_checks: Vec<(ObjectName, Option<HealthCheck>)>,
}

/// How many service ports have endpoints somewhere, but none here that their policy admits.
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
    pub(super) claims: Claims,
    pub(super) without_local: WithoutLocalEndpoints,
    triggers: HashMap<ObjectName, Vec<SystemTime>>,
    health_checks: HashMap<ObjectName, HealthCheck>,
    /// Services whose health check is not what was last told.
    changed_checks: HashSet<ObjectName>,
}

impl FamilyState {
    /// An empty plan, of which nothing is in force.
    pub(super) fn new(plan: NodePlan) -> Self {
        Self {
            plan,
            changes: ChangeSet::complete(),
            claims: Claims::default(),
            without_local: WithoutLocalEndpoints::default(),
            triggers: HashMap::new(),
            health_checks: HashMap::new(),
            changed_checks: HashSet::new(),
        }
    }

    /// Makes room for so many service ports in all.
    pub(super) fn make_room(&mut self, ports: usize) {
        self.claims.make_room(ports);
        self.plan.service_ports.make_room(ports);
    }

    /// Makes these the only ports of `service` in the plan, which holds none but those of
    /// `known` so far.
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

    /// Puts one service port into the plan, or takes it out, and records the difference.
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

    /// Puts the node's settings into the plan and records the difference.
    pub(super) fn set_node(&mut self, settings: NodeSettings) {
        if self.plan.node != settings {
            let old = std::mem::replace(&mut self.plan.node, settings);
            self.changes.record_node(old, &self.plan.node);
        }
    }

    /// Notes what load balancers shall be told about a Service.
    pub(super) fn set_health_check(&mut self, service: &ObjectName, check: Option<HealthCheck>) {
        let old = match check {
            Some(check) => self.health_checks.insert(service.clone(), check),
            None => self.health_checks.remove(service),
        };
        if old != check {
            self.changed_checks.insert(service.clone());
        }
    }

    /// Notes when the pod change happened that a slice of `service` reports.
    pub(super) fn add_trigger(&mut self, service: &ObjectName, time: SystemTime) {
        let times = self.triggers.entry(service.clone()).or_default();
        if times.len() < MAX_TRIGGERS {
            times.push(time);
        }
    }

    /// Forgets the times of a Service that lost a slice: what is left of them tells nothing.
    pub(super) fn drop_triggers(&mut self, service: &ObjectName) {
        self.triggers.remove(service);
    }

    /// Whether nothing is kept of any Service.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.plan.service_ports.is_empty()
            && self.claims.is_empty()
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

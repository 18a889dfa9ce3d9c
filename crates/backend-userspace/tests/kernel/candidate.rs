//! The mode as the conformance kit knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use portolan_backend_userspace::{Counters, UserspaceFactory};
use portolan_core::backend::CleanupReport;
use portolan_core::{
    ApplyReport, BackendError, BackendFactory, ChangeSet, IpFamily, NodePlan, ProbeFailure, Protocol,
    ProxyBackend, ProxyMode,
};
use portolan_testkit::conformance::{Candidate, Conformance};
use portolan_testkit::netns::wait_until;
use portolan_testkit::scenario::{Check, Expected, Need, Scenario, Seen, cluster_ip, node_port};

use crate::held::{Captured, assert_no_rules, open, ours, planned};
use crate::node::{LEAST, limit_to};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the applied plans capture.
type Planned = Arc<Mutex<BTreeMap<IpFamily, BTreeSet<Captured>>>>;

#[derive(Default)]
pub(crate) struct Relay {
    /// Of the process that runs.
    counters: Mutex<Arc<Counters>>,
    planned: Planned,
}

impl Candidate for Relay {
    /// In its own process the sockets of the one before were closed by now.
    fn factory(&self) -> Box<dyn BackendFactory> {
        let inner = UserspaceFactory::default();
        let before = mem::replace(&mut *self.counters.lock().unwrap(), inner.counters());
        wait_until("listeners are closed", PATIENCE, || before.listeners.get() == 0).unwrap();
        limit_to(&LEAST);
        Box::new(Limited { inner, planned: Arc::clone(&self.planned) })
    }

    /// Routes, rules and listening sockets; asserts what holds of them at any time.
    fn holds(&self, family: IpFamily) -> String {
        let planned = self.planned.lock().unwrap().get(&family).cloned().unwrap_or_default();
        // Connections that are about to end keep an address for a moment.
        let _ = wait_until("routes and rules", PATIENCE, || ours(family) == planned);
        let ours = ours(family);
        assert_eq!(ours, planned, "routes and rules");
        assert_eq!(self.counters.lock().unwrap().unserved.get(), 0, "places that could not be served");
        assert_no_rules();
        let open = open().into_iter().filter(|(_, place)| IpFamily::of(place.ip()) == family);
        format!("{ours:#?}\n{:#?}", open.collect::<Vec<_>>())
    }
}

/// The mode with no more privileges than it asks for: each call comes on a thread that nothing else uses.
struct Limited<T> {
    inner: T,
    planned: Planned,
}

#[async_trait]
impl BackendFactory for Limited<UserspaceFactory> {
    fn mode(&self) -> ProxyMode {
        self.inner.mode()
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        self.inner.probe().await
    }

    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        self.inner.remove_stale(running, family).await
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let (inner, planned) = (self.inner.create(family)?, Arc::clone(&self.planned));
        Ok(Box::new(Limited { inner, planned }))
    }
}

#[async_trait]
impl ProxyBackend for Limited<Box<dyn ProxyBackend>> {
    fn mode(&self) -> ProxyMode {
        self.inner.mode()
    }

    async fn apply(&mut self, plan: &NodePlan, changes: &ChangeSet) -> Result<ApplyReport, BackendError> {
        limit_to(&LEAST);
        let report = self.inner.apply(plan, changes).await?;
        self.planned.lock().unwrap().insert(plan.family, planned(plan));
        Ok(report)
    }

    async fn is_intact(&mut self) -> Result<bool, BackendError> {
        limit_to(&LEAST);
        self.inner.is_intact().await
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        limit_to(&LEAST);
        self.inner.cleanup().await?;
        // The kit cleans both families before it looks.
        self.planned.lock().unwrap().clear();
        Ok(())
    }
}

/// What a relay cannot do: see the crate's documentation.
pub(crate) fn kit() -> Conformance<Relay> {
    Conformance::new(|_node| Relay::default())
        .listening_on_the_node()
        .serving([Protocol::Tcp, Protocol::Udp])
        .unmet([Need::ClientAddress])
        .adapted(adapt)
}

/// Changes scenarios where this mode differs as the crate's documentation says.
fn adapt(name: &str, scenario: &mut Scenario) {
    // Receivers see this node as the client. A program on the node is taken to see clients always: what it
    // receives is not sent.
    for check in scenario.steps.iter_mut().flat_map(|step| &mut step.checks) {
        if let Check::Each(_, Expected::Reaches { seen, .. }) = check {
            *seen = Seen::TheNode;
        }
    }
    // Addresses that no Service has are left alone.
    if scenario.needs.remove(&Need::ServiceCidrs) {
        replace(scenario, &Expected::IsDropped, &Expected::PassesUntouched);
    }
    match name {
        // Without endpoints nothing listens, so outsiders are refused too.
        "ranges::outsiders_are_dropped_also_where_others_are_refused" => {
            replace(scenario, &Expected::IsDropped, &Expected::IsRefused);
        }
        // What is refused at IPv4 addresses that may be other hosts' is refused by a route, which answers a client five
        // times and then once a second (net.ipv4.route.error_burst), and that is no namespace's to change.
        "terminating::endpoints_that_neither_serve_nor_are_ready_are_not_used"
        | "terminating::connections_are_refused_once_the_last_has_ended" => {
            let last = scenario.steps.last_mut().and_then(|step| step.checks.first_mut());
            let Some(Check::Each(traffic, Expected::IsRefused)) = last else { panic!("{name} changed") };
            traffic.destinations.retain(|to| [cluster_ip(80).kind, node_port(80).kind].contains(&to.kind));
            assert_eq!(traffic.destinations.len(), 2, "{name} changed");
        }
        // A bystander takes a port for both protocols, and one of them is served. What passes untouched
        // is refused then.
        "ports::a_node_port_of_one_protocol_is_no_node_port_of_another"
        | "ports::a_second_protocol_may_join_a_node_port" => {
            replace(scenario, &Expected::PassesUntouched, &Expected::IsRefused);
        }
        _ => {}
    }
}

/// Expects another thing wherever this one was expected, which must be somewhere.
fn replace(scenario: &mut Scenario, old: &Expected, new: &Expected) {
    let mut replaced = 0;
    for check in scenario.steps.iter_mut().flat_map(|step| &mut step.checks) {
        if let Check::Each(_, expected) = check
            && expected == old
        {
            *expected = new.clone();
            replaced += 1;
        }
    }
    assert!(replaced > 0, "the scenario changed");
}

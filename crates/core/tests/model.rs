//! Random events: what was reached step by step equals what is made from what is left.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_core::address::{IpFamily, PerFamily};
use portolan_core::event::{Change, Event};
use portolan_core::name::ServicePortName;
use portolan_core::plan::{NodeSettings, ServicePort, Unserved};
use portolan_core::state::Committed;
use portolan_core::vip_owners::ServiceAddress;
use portolan_core::{HealthCheck, NodeConfig, NodePlan, ObjectName, State};
use portolan_testkit::random;
use portolan_testkit::world::{self, World};
use proptest::prelude::*;

#[path = "model/flows.rs"]
mod flows;

/// The state of a backend and a health server that apply every change set and nothing else.
#[derive(Debug, PartialEq, Eq)]
struct Follower {
    node: NodeSettings,
    service_ports: HashMap<ServicePortName, Arc<ServicePort>>,
    health_checks: HashMap<ObjectName, HealthCheck>,
}

impl Follower {
    /// Takes over a plan that has just come into force, which makes it known.
    fn of(state: &mut State, family: IpFamily) -> Self {
        let plan = state.plan(family);
        let (node, service_ports) = (plan.node.clone(), plan.service_ports.clone());
        let mut follower = Self { node, service_ports, health_checks: HashMap::new() };
        follower.commit(state, family);
        follower
    }

    /// Replays the change set, checks that it is exact, and commits.
    fn follow(&mut self, state: &mut State, family: IpFamily) {
        let (plan, changes) = (state.plan(family), state.changes(family));
        if changes.is_complete() {
            self.service_ports.clone_from(&plan.service_ports);
        } else if let Some(old) = changes.old_node() {
            assert_eq!(*old, self.node);
            assert_ne!(*old, plan.node);
        }
        // Of everything, what is listed is about flows.
        for (name, old) in changes.service_ports().filter(|_| !changes.is_complete()) {
            assert_eq!(old, self.service_ports.get(name), "{name} as last applied");
            let new = plan.service_ports.get(name);
            assert_ne!(old, new, "{name} is listed but did not change");
            match new {
                Some(port) => self.service_ports.insert(name.clone(), Arc::clone(port)),
                None => self.service_ports.remove(name),
            };
        }
        if changes.old_node().is_none() && !changes.is_complete() {
            assert_eq!(self.node, plan.node, "the change set left the node's settings out");
        }
        self.node = plan.node.clone();
        assert_eq!(self.service_ports, plan.service_ports, "the change set left something out");
        self.commit(state, family);
    }

    fn commit(&mut self, state: &mut State, family: IpFamily) {
        for (name, check) in state.committed(family).health_checks {
            match check {
                Some(check) => self.health_checks.insert(name, check),
                None => self.health_checks.remove(&name),
            };
        }
        assert!(state.changes(family).is_empty());
        assert_eq!(state.committed(family), Committed::default(), "reported twice");
    }
}

fn frontends<'a>(name: &'a ServicePortName, port: &'a ServicePort) -> impl Iterator<Item = ServiceAddress> {
    let vips = port.cluster_ip.into_iter().chain(port.external_addresses());
    let vips = vips.map(|ip| ServiceAddress::Vip(ip, name.protocol, port.port));
    vips.chain(port.node_port.map(|port| ServiceAddress::NodePort(name.protocol, port)))
}

fn assert_frontends_are_unique(plan: &NodePlan) {
    let mut seen = HashMap::new();
    for (name, port) in &plan.service_ports {
        for frontend in frontends(name, port) {
            assert_eq!(seen.insert(frontend, name), None, "{frontend} is {name}'s twice, or another's too");
        }
        assert!(port.has_address(), "{name} is in the plan without an address");
    }
}

/// The ignored service port of a reported conflict does not have the address.
fn assert_losers_do_not_answer(state: &mut State) {
    for conflict in state.take_conflicts() {
        for family in IpFamily::ALL {
            let loser = state.plan(family).service_ports.get(&conflict.ignored);
            let answers =
                loser.is_some_and(|port| frontends(&conflict.ignored, port).any(|f| f == conflict.address));
            // A node port is contested in each family on its own, and may be won in one and lost in the other.
            let is_here =
                matches!(conflict.address, ServiceAddress::Vip(ip, ..) if IpFamily::of(ip) == family);
            assert!(!(answers && is_here), "{conflict:?}, but the loser answers in {family}");
        }
    }
}

/// What becomes of a plan after an event.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It comes into force.
    Applied,
    /// It has to wait, and its changes with it.
    Waits,
    /// Applying it fails, so that nothing is known of the kernel.
    Fails,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Applied), 4 => Just(Fate::Waits), 1 => Just(Fate::Fails)]
}

fn steps() -> impl Strategy<Value = Vec<(Event, Option<NodeConfig>, Fate, Fate)>> {
    let configured_anew = prop::option::weighted(0.1, world::any_config());
    proptest::collection::vec((world::event(), configured_anew, fate(), fate()), 1..60)
}

proptest! {
    #![proptest_config(random::cases(400))]

    #[test]
    fn plan_after_any_events_equals_plan_from_scratch(
        config in world::any_config(),
        steps in steps(),
    ) {
        let mut world = World::default();
        let mut config = config;
        let mut state = world.state(config.clone());
        let mut followers = PerFamily::from_fn(|family| Follower::of(&mut state, family));
        for (event, configured_anew, v4, v6) in steps {
            world.handle(&event);
            if let Some(new) = configured_anew {
                config = NodeConfig { allow_external_ips: config.allow_external_ips, ..new.clone() };
                state.reconfigure(new);
            }
            let is_single = matches!(&event, Event::Service(Change::Applied(_)));
            state.handle(event);
            state.prepare();
            if is_single {
                assert_losers_do_not_answer(&mut state);
            }
            state.take_conflicts();
            let mut fresh = world.state(config.clone());
            for (family, fate) in [(IpFamily::V4, v4), (IpFamily::V6, v6)] {
                assert_frontends_are_unique(state.plan(family));
                prop_assert_eq!(state.plan(family), fresh.plan(family));
                prop_assert_eq!(state.without_local_endpoints(family), fresh.without_local_endpoints(family));
                match fate {
                    Fate::Applied => {
                        followers[family].follow(&mut state, family);
                        let scratch = Follower::of(&mut fresh, family);
                        prop_assert_eq!(&followers[family], &scratch);
                    }
                    Fate::Waits => {}
                    Fate::Fails => state.forget_applied(family),
                }
            }
        }
    }

    #[test]
    fn list_of_known_objects_changes_nothing(
        config in world::any_config(),
        events in world::events(1..30),
    ) {
        let mut world = World::default();
        for event in &events {
            world.handle(event);
        }
        let mut state = world.state(config);
        state.take_conflicts();
        for family in IpFamily::ALL {
            state.committed(family);
        }
        for event in world.lists() {
            state.handle(event);
        }
        state.prepare();
        prop_assert_eq!(state.take_conflicts(), vec![]);
        for family in IpFamily::ALL {
            prop_assert!(state.changes(family).is_empty());
            prop_assert_eq!(state.committed(family), Committed::default());
        }
    }

    #[test]
    fn exactly_the_flows_that_contradict_the_plan_are_removed(
        config in world::any_config(),
        steps in flows::steps(),
    ) {
        let mut state = State::new(config);
        World::default().lists().into_iter().for_each(|event| state.handle(event));
        let mut tracked = PerFamily::<flows::Tracked>::default();
        for (event, is_applied) in steps {
            state.handle(event);
            state.prepare();
            for family in IpFamily::ALL.into_iter().filter(|_| is_applied) {
                tracked[family].follow(state.plan(family), state.changes(family));
                state.committed(family);
            }
        }
    }
}

proptest! {
    #![proptest_config(random::cases(400))]

    #[test]
    fn flows_are_correct_after_any_changes_during_a_search(
        config in world::any_config(),
        steps in flows::slow_steps(),
    ) {
        let mut state = State::new(config);
        World::default().lists().into_iter().for_each(|event| state.handle(event));
        state.prepare();
        let mut cleaned = PerFamily::<flows::Cleaned>::default();
        for step in steps {
            if let flows::Step::Event(event) = &step {
                state.handle(Event::clone(event));
                state.prepare();
            }
            for family in IpFamily::ALL {
                cleaned[family].take(&step, &mut state, family);
            }
        }
        for family in IpFamily::ALL {
            cleaned[family].settle(&mut state, family);
        }
    }
}

#[test]
fn random_clusters_contain_every_kind_of_service_port() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut found: HashMap<&str, usize> = HashMap::new();
    for _ in 0..200 {
        let events: Vec<Event> = world::events(30).new_tree(&mut runner).unwrap().current();
        let mut world = World::default();
        for event in &events {
            world.handle(event);
        }
        let mut state = world.state(world::any_config().new_tree(&mut runner).unwrap().current());
        for family in IpFamily::ALL {
            for port in state.plan(family).service_ports.values() {
                for (kind, _) in kinds(port).into_iter().filter(|(_, is_one)| *is_one) {
                    *found.entry(kind).or_default() += 1;
                }
            }
            let gauges = state.without_local_endpoints(family);
            *found.entry("no local endpoints").or_default() += gauges.internal + gauges.external;
            *found.entry("health check").or_default() += state.committed(family).health_checks.len();
        }
        *found.entry("conflict").or_default() += state.take_conflicts().len();
    }
    assert_eq!(found.len(), 15, "{found:?}");
    assert!(found.values().all(|count| *count >= 20), "{found:?}");
}

fn kinds(port: &ServicePort) -> [(&'static str, bool); 12] {
    let is_local = |policy| policy == portolan_core::event::TrafficPolicy::Local;
    let is_served = !port.cluster_endpoints.is_empty() || !port.local_endpoints.is_empty();
    [
        ("cluster list", !port.cluster_endpoints.is_empty()),
        ("local list", !port.local_endpoints.is_empty()),
        ("lists that differ", is_served && port.cluster_endpoints != port.local_endpoints),
        ("internal Local", is_local(port.internal_traffic_policy)),
        ("external Local", port.is_external() && is_local(port.external_traffic_policy)),
        ("source ranges", !port.source_ranges.is_empty()),
        ("affinity", port.session_affinity.is_some()),
        ("lingering endpoints", !port.draining_endpoints.is_empty()),
        ("node port", port.node_port.is_some()),
        ("several VIPs", port.external_addresses().count() > 1),
        ("rejects", !is_served && port.unserved == Unserved::Reject),
        ("drops", port.internal_endpoints().is_empty() && port.unserved == Unserved::Drop),
    ]
}

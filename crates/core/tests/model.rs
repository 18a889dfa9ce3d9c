//! Random events: the plan reached step by step equals the plan made from what is left.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_core::address::IpFamily;
use portolan_core::claims::Frontend;
use portolan_core::event::Event;
use portolan_core::name::ServicePortName;
use portolan_core::plan::{NodeSettings, ServicePort};
use portolan_core::{NodePlan, State};
use portolan_testkit::world::{self, World};
use proptest::prelude::*;

/// What a backend would hold that only ever followed change sets.
#[derive(Debug, PartialEq, Eq)]
struct Follower {
    node: NodeSettings,
    service_ports: HashMap<ServicePortName, Arc<ServicePort>>,
}

impl Follower {
    fn of(plan: &NodePlan) -> Self {
        Self { node: plan.node.clone(), service_ports: plan.service_ports.clone() }
    }

    /// Replays the change set, and checks that it is exact.
    fn follow(&mut self, state: &State, family: IpFamily) {
        let (plan, changes) = (state.plan(family), state.changes(family));
        assert!(!changes.is_complete());
        if let Some(old) = changes.old_node() {
            assert_eq!(*old, self.node);
            assert_ne!(*old, plan.node);
        }
        for (name, old) in changes.service_ports() {
            assert_eq!(old, self.service_ports.get(name), "{name} as last applied");
            let new = plan.service_ports.get(name);
            assert_ne!(old, new, "{name} is listed but did not change");
            match new {
                Some(port) => self.service_ports.insert(name.clone(), Arc::clone(port)),
                None => self.service_ports.remove(name),
            };
        }
        self.node = plan.node.clone();
        assert_eq!(*self, Self::of(plan), "the change set left something out");
    }
}

fn assert_frontends_are_unique(plan: &NodePlan) {
    let mut seen = HashMap::new();
    for (name, port) in &plan.service_ports {
        let vips = port.cluster_ip.into_iter().chain(port.external_addresses());
        let vips = vips.map(|ip| Frontend::Vip(ip, name.protocol, port.port));
        for frontend in vips.chain(port.node_port.map(|port| Frontend::NodePort(name.protocol, port))) {
            assert_eq!(seen.insert(frontend, name), None, "{frontend} is {name}'s twice, or another's too");
        }
        assert!(port.has_frontend(), "{name} is in the plan without an address");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_plans_equal_plans_from_scratch(
        events in world::events(1..60),
        commit_every in 1_usize..7,
    ) {
        let mut world = World::default();
        let mut state = State::new(world::config());
        for event in world.lists() {
            state.handle(event);
        }
        state.prepare();
        let mut followers: Vec<_> = IpFamily::ALL.iter().map(|family| {
            state.committed(*family);
            Follower::of(state.plan(*family))
        }).collect();
        for (step, event) in events.into_iter().enumerate() {
            world.handle(&event);
            state.handle(event);
            state.prepare();
            let fresh = world.state(world::config());
            for family in IpFamily::ALL {
                assert_frontends_are_unique(state.plan(family));
                prop_assert_eq!(state.plan(family), fresh.plan(family));
            }
            if step % commit_every == 0 {
                for (family, follower) in IpFamily::ALL.into_iter().zip(&mut followers) {
                    follower.follow(&state, family);
                    state.committed(family);
                    prop_assert!(state.changes(family).is_empty());
                }
            }
        }
    }

    #[test]
    fn a_list_of_what_is_known_changes_nothing(events in world::events(1..30)) {
        let mut world = World::default();
        for event in &events {
            world.handle(event);
        }
        let mut state = world.state(world::config());
        for family in IpFamily::ALL {
            state.committed(family);
        }
        for event in world.lists() {
            state.handle(event);
        }
        state.prepare();
        for family in IpFamily::ALL {
            prop_assert!(state.changes(family).is_empty());
        }
    }
}

#[test]
fn random_worlds_are_not_empty() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut planned, mut endpoints, mut rejecting) = (0, 0, 0);
    for _ in 0..50 {
        let events: Vec<Event> = world::events(30).new_tree(&mut runner).unwrap().current();
        let mut world = World::default();
        for event in &events {
            world.handle(event);
        }
        let state = world.state(world::config());
        for port in IpFamily::ALL.iter().flat_map(|family| state.plan(*family).service_ports.values()) {
            planned += 1;
            endpoints += port.cluster_endpoints.len();
            rejecting += usize::from(port.cluster_endpoints.is_empty());
        }
    }
    assert!(planned > 100 && endpoints > 100 && rejecting > 20, "{planned} {endpoints} {rejecting}");
}

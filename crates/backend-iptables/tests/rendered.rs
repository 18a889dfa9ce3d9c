//! What holds for the rules of any plan.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use portolan_backend_iptables::names::{Chain, Table};
use portolan_backend_iptables::options::{Counters, Options};
use portolan_backend_iptables::render::{
    Context, LISTS, Sink, dispatch, fixed_chains, jumps, last_rules, own_chains,
};
use portolan_backend_iptables::rule::{Body, Rule, Target, parse, words};
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{IpFamily, NodePlan, State};
use portolan_testkit::random;
use portolan_testkit::world::{any_config, events};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[path = "rendered/print.rs"]
mod print;

/// Asserts something of the rules of any plan.
fn for_any_plan(check: impl Fn(&Context<'_>, &NodePlan) -> Result<(), TestCaseError>) {
    let worlds = (any_config(), any_options(), any::<bool>(), events(1..20));
    let outcome = TestRunner::new(random::cases(256)).run(&worlds, |(config, options, is_large, events)| {
        let state = state(config, events);
        for family in IpFamily::ALL {
            let plan = state.plan(family);
            check(&Context { family, node: &plan.node, options: &options, is_large }, plan)?;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

fn any_options() -> impl Strategy<Value = Options> {
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    switches.prop_map(
        |(localhost_node_ports, drop_invalid, random_fully, invalid_dropped, localhost_accepted)| Options {
            localhost_node_ports,
            drop_invalid,
            random_fully,
            counters: Counters { invalid_dropped, localhost_accepted },
        },
    )
}

fn state(config: NodeConfig, events: impl IntoIterator<Item = Event>) -> State {
    let mut state = State::new(config);
    for event in portolan_testkit::objects::empty_lists().into_iter().chain(events) {
        state.handle(event);
    }
    state.prepare();
    state
}

/// Tells everything of a plan.
fn tell(cx: &Context<'_>, plan: &NodePlan, sink: &mut impl Sink) {
    for (table, list) in LISTS {
        sink.chain(table, Chain::Fixed(list));
    }
    fixed_chains(cx, sink);
    for (name, port) in &plan.service_ports {
        dispatch(cx, name, port, sink);
        own_chains(cx, name, port, sink);
    }
    last_rules(cx, sink);
    for (table, from, rule) in jumps(cx) {
        sink.rule(table, Chain::BuiltIn(from), &rule);
    }
}

/// Hands each rule on.
struct Each<F>(F);

impl<F: FnMut(Table, Chain, &Rule<'_>)> Sink for Each<F> {
    fn chain(&mut self, _: Table, _: Chain) {}

    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>) {
        (self.0)(table, chain, rule);
    }
}

#[test]
fn every_rule_is_read_back_from_what_programs_print_of_it() {
    for_any_plan(|cx, plan| {
        let mut buffer = Vec::new();
        let mut unequal = Vec::new();
        tell(
            cx,
            plan,
            &mut Each(|_, _, rule: &Rule<'_>| {
                for text in [rule.to_string(), print::saved(cx.family, rule)] {
                    let read = parse(words(&text, &mut buffer).unwrap());
                    let is_same = |read: &Rule<'_>| {
                        read.body == rule.body && read.comment.to_string() == rule.comment.to_string()
                    };
                    if !read.as_ref().is_some_and(is_same) {
                        unequal.push(format!("{rule}, printed as{text}"));
                    }
                }
            }),
        );
        prop_assert!(unequal.is_empty(), "{unequal:#?}");
        Ok(())
    });
}

/// Which chains there are, and which rules lead where.
#[derive(Default)]
struct Map {
    chains: BTreeMap<(Table, Chain), usize>,
    ways: BTreeSet<(Table, Chain, Chain)>,
}

impl Sink for Map {
    fn chain(&mut self, table: Table, chain: Chain) {
        *self.chains.entry((table, chain)).or_default() += 1;
    }

    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>) {
        if let Some(Target::Jump(to)) = rule.body.target {
            self.ways.insert((table, chain, to));
        }
    }
}

#[test]
fn every_chain_is_told_once_and_every_way_leads_to_one_of_the_same_table() {
    for_any_plan(|cx, plan| {
        let mut map = Map::default();
        tell(cx, plan, &mut map);
        for (chain, times) in &map.chains {
            prop_assert_eq!(*times, 1, "{:?}", chain);
        }
        for (table, from, to) in &map.ways {
            prop_assert!(map.chains.contains_key(&(*table, *to)), "{} leads to {} in {}", from, to, table);
        }
        Ok(())
    });
}

#[test]
fn no_chain_of_a_service_port_is_there_that_packets_cannot_come_to() {
    for_any_plan(|cx, plan| {
        // A cluster IP that another Service owns leaves the list of endpoints for it without a use.
        if plan.service_ports.values().any(|port| port.cluster_ip.is_none()) {
            return Ok(());
        }
        let mut map = Map::default();
        tell(cx, plan, &mut map);
        let mut reached: BTreeSet<(Table, Chain)> =
            LISTS.iter().map(|(table, list)| (*table, Chain::Fixed(*list))).collect();
        // FW, EXT, SVC, SEP: as deep as that.
        for _ in 0..4 {
            let is_reached = |(table, from, _): &&(Table, Chain, Chain)| reached.contains(&(*table, *from));
            let further: Vec<_> =
                map.ways.iter().filter(is_reached).map(|(table, _, to)| (*table, *to)).collect();
            reached.extend(further);
        }
        for chain in map.chains.keys().filter(|(_, chain)| matches!(chain, Chain::Own(..))) {
            prop_assert!(reached.contains(chain), "{:?}", chain);
        }
        Ok(())
    });
}

#[test]
fn no_packet_matches_two_lines_of_a_list_so_their_order_does_not_matter() {
    for_any_plan(|cx, plan| {
        let mut seen = HashSet::new();
        let mut twice = Vec::new();
        for (name, port) in &plan.service_ports {
            dispatch(
                cx,
                name,
                port,
                &mut Each(|table, list, rule: &Rule<'_>| {
                    // Ports of health checks are let in by as many lines as there are ports of the Service.
                    let is_health_check = rule.body.target == Some(Target::Accept);
                    let matches = Body { target: None, ..rule.body };
                    let key = (table, list, format!("{matches:?}"));
                    if !is_health_check && !seen.insert(key) {
                        twice.push(rule.to_string());
                    }
                }),
            );
        }
        prop_assert!(twice.is_empty(), "{twice:#?}");
        Ok(())
    });
}

#[test]
fn comments_are_left_out_of_large_clusters_and_nothing_else() {
    for_any_plan(|cx, plan| {
        let bodies = |is_large| {
            let mut bodies = Vec::new();
            tell(
                &Context { is_large, ..*cx },
                plan,
                &mut Each(|table, chain, rule: &Rule<'_>| {
                    bodies.push(format!("{table} {chain} {:?}", rule.body));
                }),
            );
            bodies.sort_unstable();
            bodies
        };
        prop_assert_eq!(bodies(true), bodies(false));
        Ok(())
    });
}

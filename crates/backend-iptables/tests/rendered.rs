//! What holds for the rules of any plan.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use portolan_backend_iptables::names::{Chain, Fixed, Table};
use portolan_backend_iptables::options::{Counters, Options};
use portolan_backend_iptables::render::{
    Context, LISTS, ListRule, fixed_chains, jumps, last_rules, list_rules, own_chains,
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

/// All chains of a plan, each with its rules. Those of built-in chains and lists come in pieces.
fn chains<'a>(cx: &'a Context<'a>, plan: &'a NodePlan) -> Vec<(Table, Chain, Vec<Rule<'a>>)> {
    let mut chains: Vec<_> =
        LISTS.into_iter().map(|(table, list)| (table, Chain::Fixed(list), Vec::new())).collect();
    chains.extend(
        fixed_chains(cx).into_iter().map(|fixed| (fixed.table, Chain::Fixed(fixed.chain), fixed.rules)),
    );
    for (name, port) in &plan.service_ports {
        chains.extend(own_chains(cx, name, port).map(|(chain, rules)| (Table::Nat, chain, rules)));
    }
    chains
}

/// All rules of a plan.
fn rules<'a>(cx: &'a Context<'a>, plan: &'a NodePlan) -> Vec<(Table, Chain, Rule<'a>)> {
    let in_chains = chains(cx, plan)
        .into_iter()
        .flat_map(|(table, chain, rules)| rules.into_iter().map(move |rule| (table, chain, rule)));
    let in_lists = plan.service_ports.iter().flat_map(|(name, port)| list_rules(cx, name, port));
    let in_lists = in_lists.map(|rule| (rule.table, Chain::Fixed(rule.list), rule.rule));
    let last = last_rules(cx).into_iter().map(|rule| (Table::Nat, Chain::Fixed(Fixed::Services), rule));
    let jumps = jumps(cx).map(|(table, from, rule)| (table, Chain::BuiltIn(from), rule));
    in_chains.chain(in_lists).chain(last).chain(jumps).collect()
}

#[test]
fn every_rule_is_parsed_from_what_programs_print() {
    for_any_plan(|cx, plan| {
        let mut buffer = Vec::new();
        let mut unequal = Vec::new();
        for (_, _, rule) in rules(cx, plan) {
            for text in [rule.to_string(), print::saved(cx.family, &rule)] {
                let read = parse(words(&text, &mut buffer).unwrap());
                let is_same = |read: &Rule<'_>| {
                    read.body == rule.body && read.comment.to_string() == rule.comment.to_string()
                };
                if !read.as_ref().is_some_and(is_same) {
                    unequal.push(format!("{rule}, printed as{text}"));
                }
            }
        }
        prop_assert!(unequal.is_empty(), "{unequal:#?}");
        Ok(())
    });
}

/// The chains of a plan, how often each is rendered, and the jumps between them.
struct Map {
    chains: BTreeMap<(Table, Chain), usize>,
    jumps: BTreeSet<(Table, Chain, Chain)>,
}

impl Map {
    fn new(cx: &Context<'_>, plan: &NodePlan) -> Self {
        let mut all = BTreeMap::new();
        for (table, chain, _) in chains(cx, plan) {
            *all.entry((table, chain)).or_default() += 1;
        }
        let jump = |(table, chain, rule): (Table, Chain, Rule<'_>)| match rule.body.target {
            Some(Target::Jump(to)) => Some((table, chain, to)),
            _ => None,
        };
        Self { chains: all, jumps: rules(cx, plan).into_iter().filter_map(jump).collect() }
    }
}

#[test]
fn every_chain_is_rendered_once_and_every_jump_target_exists_in_its_table() {
    for_any_plan(|cx, plan| {
        let map = Map::new(cx, plan);
        for (chain, times) in &map.chains {
            prop_assert_eq!(*times, 1, "{:?}", chain);
        }
        for (table, from, to) in &map.jumps {
            prop_assert!(map.chains.contains_key(&(*table, *to)), "{} leads to {} in {}", from, to, table);
        }
        Ok(())
    });
}

#[test]
fn every_chain_of_a_service_port_is_reachable() {
    for_any_plan(|cx, plan| {
        // A cluster IP that another Service owns leaves the list of endpoints for it without a use.
        if plan.service_ports.values().any(|port| port.cluster_ip.is_none()) {
            return Ok(());
        }
        let map = Map::new(cx, plan);
        let mut reached: BTreeSet<(Table, Chain)> =
            LISTS.iter().map(|(table, list)| (*table, Chain::Fixed(*list))).collect();
        // FW, EXT, SVC, SEP: as deep as that.
        for _ in 0..4 {
            let is_reached = |(table, from, _): &&(Table, Chain, Chain)| reached.contains(&(*table, *from));
            let further: Vec<_> =
                map.jumps.iter().filter(is_reached).map(|(table, _, to)| (*table, *to)).collect();
            reached.extend(further);
        }
        for chain in map.chains.keys().filter(|(_, chain)| matches!(chain, Chain::Own(..))) {
            prop_assert!(reached.contains(chain), "{:?}", chain);
        }
        Ok(())
    });
}

#[test]
fn no_packet_matches_two_rules_of_a_list() {
    for_any_plan(|cx, plan| {
        let mut seen = HashSet::new();
        let mut twice = Vec::new();
        for (name, port) in &plan.service_ports {
            for ListRule { table, list, rule } in list_rules(cx, name, port) {
                // Every port of a Service has a rule for its health check node port.
                let is_health_check = rule.body.target == Some(Target::Accept);
                let matches = Body { target: None, ..rule.body };
                let key = (table, list, format!("{matches:?}"));
                if !is_health_check && !seen.insert(key) {
                    twice.push(rule.to_string());
                }
            }
        }
        prop_assert!(twice.is_empty(), "{twice:#?}");
        Ok(())
    });
}

#[test]
fn large_clusters_omit_comments_and_nothing_else() {
    for_any_plan(|cx, plan| {
        let bodies = |is_large| {
            let cx = Context { is_large, ..*cx };
            let all = rules(&cx, plan).into_iter();
            let mut bodies: Vec<_> =
                all.map(|(table, chain, rule)| format!("{table} {chain} {:?}", rule.body)).collect();
            bodies.sort_unstable();
            bodies
        };
        prop_assert_eq!(bodies(true), bodies(false));
        Ok(())
    });
}

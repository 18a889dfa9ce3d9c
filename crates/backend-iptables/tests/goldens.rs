//! Whole rulesets: as text to read, and as the programs of the host understand them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::sync::Arc;

use portolan_backend_iptables::names::{Chain, Fixed, Table};
use portolan_backend_iptables::options::Options;
use portolan_backend_iptables::render::{
    Context, LISTS, fixed_chains, jumps, last_rules, list_rules, own_chains,
};
use portolan_backend_iptables::restore::Lines;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::plan::ServicePort;
use portolan_core::{NodePlan, ServicePortName, State};

#[path = "goldens/clusters.rs"]
mod clusters;
#[path = "goldens/programs.rs"]
mod programs;
#[path = "goldens/read.rs"]
mod read;
#[path = "goldens/scenarios.rs"]
mod scenarios;
#[path = "goldens/upstream.rs"]
mod upstream;

/// A state that knows these objects alone.
fn state(config: NodeConfig, events: impl IntoIterator<Item = Event>) -> State {
    let mut state = State::new(config);
    for event in portolan_testkit::objects::empty_lists().into_iter().chain(events) {
        state.handle(event);
    }
    state.prepare();
    state
}

fn context<'a>(plan: &'a NodePlan, options: &'a Options) -> Context<'a> {
    Context { family: plan.family, node: &plan.node, options, is_large: false }
}

/// All rules as one input for the programs, service ports by name: what a node without any of them gets.
fn input(cx: &Context<'_>, plan: &NodePlan) -> String {
    let mut ports: Vec<_> = plan.service_ports.iter().collect();
    ports.sort_unstable_by_key(|(name, _)| *name);
    Table::ALL.map(|table| format!("*{table}\n{}COMMIT\n", section(cx, table, &ports).as_str())).concat()
}

fn section(cx: &Context<'_>, table: Table, ports: &[(&ServicePortName, &Arc<ServicePort>)]) -> Lines {
    let mut lines = Lines::default();
    let fixed: Vec<_> = fixed_chains(cx).into_iter().filter(|fixed| fixed.table == table).collect();
    let is_nat = table == Table::Nat;
    let own = ports.iter().filter(|_| is_nat).flat_map(|(name, port)| own_chains(cx, name, port));
    let own: Vec<_> = own.collect();
    let lists = LISTS.into_iter().filter(|(of, _)| *of == table).map(|(_, list)| list);
    let declared = lists.chain(fixed.iter().map(|fixed| fixed.chain)).map(Chain::Fixed);
    declared.chain(own.iter().map(|(chain, _)| *chain)).for_each(|chain| lines.declare(chain));
    for fixed in &fixed {
        lines.append(Chain::Fixed(fixed.chain), &fixed.rules);
    }
    let rules = ports.iter().flat_map(|(name, port)| list_rules(cx, name, port));
    for rule in rules.filter(|rule| rule.table == table) {
        lines.append(Chain::Fixed(rule.list), &[rule.rule]);
    }
    if is_nat {
        lines.append(Chain::Fixed(Fixed::Services), &last_rules(cx));
    }
    for (chain, rules) in &own {
        lines.append(*chain, rules);
    }
    for (_, from, rule) in jumps(cx).filter(|(of, ..)| *of == table) {
        lines.insert(Chain::BuiltIn(from), rule);
    }
    lines
}

#[track_caller]
fn assert_golden(name: &str, actual: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    portolan_testkit::golden::assert_golden(&folder.join(name), actual);
}

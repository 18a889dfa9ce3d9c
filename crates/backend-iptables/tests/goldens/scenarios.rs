//! The rules after each step of the scenario table, a file for each group and family.
//!
//! A file shows what service ports have, and where node ports answer; chains that are always the same are
//! in the rulesets of [`clusters`](super::clusters). Service ports that differ in nothing but their protocol
//! are shown once, and steps that come to the same rules together.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use portolan_backend_iptables::names::{Chain, Fixed, Table};
use portolan_backend_iptables::render::{last_rules, list_rules, own_chains};
use portolan_backend_iptables::rule::Rule;
use portolan_core::plan::ServicePort;
use portolan_core::{IpFamily, ServicePortName};
use portolan_testkit::scenario::all;

use super::*;

/// Does something with the plans after each step of each scenario.
fn each_step(mut with: impl FnMut(&str, usize, &NodePlan)) {
    for named in all() {
        let mut state = state(named.scenario.config.clone(), []);
        for (number, step) in named.scenario.steps.iter().enumerate() {
            step.events.iter().cloned().for_each(|event| state.handle(event));
            state.prepare();
            for family in IpFamily::ALL {
                with(named.name, number + 1, state.plan(family));
            }
        }
    }
}

/// The different inputs that all scenarios come to, each with a step that does.
pub(crate) fn inputs() -> Vec<(String, IpFamily, String)> {
    let options = Options::default();
    let mut inputs = BTreeMap::new();
    each_step(|name, step, plan| {
        let what = format!("{name}, step {step}, {}", plan.family);
        inputs.entry((input(&context(plan, &options), plan), plan.family)).or_insert(what);
    });
    inputs.into_iter().map(|((input, family), what)| (input, family, what)).collect()
}

/// The service ports by name, without those that are another one's by another protocol.
fn different(plan: &NodePlan) -> Vec<(&ServicePortName, &ServicePort)> {
    let mut ports: Vec<_> = plan.service_ports.iter().map(|(name, port)| (name, &**port)).collect();
    ports.sort_by_key(|(name, _)| (&name.service, name.protocol, &name.port));
    let mut seen: Vec<(&ServicePortName, ServicePort)> = Vec::new();
    ports.retain(|(name, port)| {
        // Only UDP has flows to be kept, which no rule depends on.
        let port = ServicePort { draining_endpoints: Box::default(), ..(*port).clone() };
        let is_new = !seen.iter().any(|(other, seen)| other.service == name.service && *seen == port);
        seen.push((*name, port));
        is_new
    });
    ports
}

fn shown(plan: &NodePlan) -> String {
    let options = Options::default();
    let cx = context(plan, &options);
    let mut text = String::new();
    let add = |text: &mut String, table: Table, chain: Chain, rule: &Rule<'_>| {
        writeln!(text, "{table} -A {chain}{rule}").unwrap();
    };
    for rule in last_rules(&cx) {
        add(&mut text, Table::Nat, Chain::Fixed(Fixed::Services), &rule);
    }
    for (name, port) in different(plan) {
        writeln!(text).unwrap();
        for rule in list_rules(&cx, name, port) {
            add(&mut text, rule.table, Chain::Fixed(rule.list), &rule.rule);
        }
        for (chain, rules) in own_chains(&cx, name, port) {
            for rule in &rules {
                add(&mut text, Table::Nat, chain, rule);
            }
        }
    }
    text
}

/// The rules of one file: the different ones in the order in which they come up, and the steps that come
/// to each.
#[derive(Default)]
struct File {
    rules: Vec<String>,
    steps: HashMap<String, Vec<String>>,
}

impl File {
    fn add(&mut self, rules: String, step: String) {
        let steps = self.steps.entry(rules.clone()).or_default();
        if steps.is_empty() {
            self.rules.push(rules);
        }
        steps.push(step);
    }

    fn text(&self) -> String {
        let section = |rules: &String| self.steps[rules].concat() + rules;
        self.rules.iter().map(section).collect::<Vec<_>>().join("\n\n")
    }
}

#[test]
fn rules_after_each_step_are_as_they_were_read() {
    let mut files: BTreeMap<String, File> = BTreeMap::new();
    each_step(|name, step, plan| {
        let (group, scenario) = name.split_once("::").unwrap();
        let file = format!("scenarios/{group}.{}.rules", plan.family.to_string().to_lowercase());
        files.entry(file).or_default().add(shown(plan), format!("# {scenario}, step {step}\n"));
    });
    for (name, file) in files {
        assert_golden(&name, &file.text());
    }
}

//! Random clusters: the rules reached step by step are those that a fresh start writes, as the programs
//! print them.

use std::collections::BTreeMap;

use portolan_backend_iptables::programs::Variant;
use portolan_core::IpFamily;
use portolan_core::event::Event;
use portolan_testkit::netns::{Namespace, Program};
use portolan_testkit::world::{self, World};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::node::Node;

/// Rules by table and chain; those of lists in any order.
fn by_chain(saved: &str) -> BTreeMap<(String, String), Vec<String>> {
    let mut chains = BTreeMap::<_, Vec<String>>::new();
    let mut table = String::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
        } else if let Some(chain) = line.strip_prefix(':').and_then(|line| line.split(' ').next()) {
            chains.entry((table.clone(), chain.to_owned())).or_default();
        } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|line| line.split_once(' ')) {
            // The kubelet's as well: it stays when we need it no more.
            if !rule.ends_with("-j KUBE-FIREWALL") {
                chains.entry((table.clone(), chain.to_owned())).or_default().push(rule.to_owned());
            }
        }
    }
    chains.retain(|(_, chain), _| chain != "KUBE-FIREWALL");
    for ((_, chain), rules) in &mut chains {
        if ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"]
            .contains(&chain.as_str())
        {
            let last = rules.iter().position(|rule| rule.contains("must be the last")).unwrap_or(rules.len());
            rules[..last].sort_unstable();
        }
    }
    chains
}

fn what_was_reached_step_by_step_is_what_a_fresh_start_writes(variant: Variant) {
    let strategy = proptest::collection::vec(proptest::collection::vec(world::event(), 1..6), 1..8);
    let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
    let play = |steps: Vec<Vec<Event>>| {
        let namespaces = ["long", "fresh"].map(|name| Namespace::create(name).unwrap());
        let mut world = World::default();
        let mut node = Node::new(&namespaces[0], variant, world::config());
        for events in steps {
            for event in &events {
                world.handle(event);
            }
            node.apply(events);
        }
        node.assert_sound();
        let mut fresh = Node::new(&namespaces[1], variant, world::config());
        fresh.apply(world.lists());
        for family in IpFamily::ALL {
            let (left, right) = (node.saved(family), fresh.saved(family));
            prop_assert_eq!(by_chain(&left), by_chain(&right), "{}", family);
        }
        for name in ["long", "fresh"] {
            Program::new("ip").args(["netns", "del", name]).run().unwrap();
        }
        Ok(())
    };
    TestRunner::new(config).run(&strategy, play).unwrap();
}

crate::with_both_kinds! { what_was_reached_step_by_step_is_what_a_fresh_start_writes }

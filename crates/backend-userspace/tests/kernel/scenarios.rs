//! The scenario table with real connections, one test for each scenario.

use portolan_backend_userspace::Options;
use portolan_core::Protocol;
use portolan_core::event::Event;
use portolan_testkit::every_scenario;
use portolan_testkit::netns::{Topology, isolated};
use portolan_testkit::scenario::kernel::{ServedNode, network, run};
use portolan_testkit::scenario::{Check, Expected, LeftOut, Need, Scenario, Sender, all, named, node_port};

use crate::node::{LEAST, Node};

/// What a relay cannot do: see the crate's documentation. This kernel has no SCTP, nor has the mode.
const UNMET: [Need; 2] = [Need::Sctp, Need::ClientAddress];

impl ServedNode for Node {
    fn network(&self) -> &Topology {
        &self.net
    }

    fn follow(&mut self, events: Vec<Event>) {
        self.apply(events);
    }

    fn assert_sound(&mut self) {
        Self::assert_sound(self);
    }

    fn listens_on_the_node(&self) -> bool {
        true
    }
}

fn play(name: &str) {
    let scenario = adapted(name);
    let net = network(&scenario).unwrap();
    let mut node = Node::with(net, scenario.config.clone(), Options::default(), &LEAST);
    run(name, &scenario, &mut node, &UNMET);
}

/// The scenario, changed where this mode differs in a way that the crate's documentation tells.
fn adapted(name: &str) -> Scenario {
    let mut scenario = named(name).scenario;
    // Addresses that no Service has are left alone.
    if scenario.needs.remove(&Need::ServiceCidrs) {
        replace(&mut scenario, &Expected::IsDropped, &Expected::PassesUntouched);
    }
    let mut checks = scenario.steps.iter_mut().flat_map(|step| &mut step.checks);
    match name {
        // All ports of a service's addresses are this node's.
        "unserved::another_port_of_an_external_address_is_left_alone" => {
            let Some(Check::Each(traffic, _)) = checks.next() else { panic!("{name} changed") };
            traffic.destinations.retain(|to| to.kind == node_port(80).kind);
            assert_eq!(traffic.destinations.len(), 1, "{name} changed");
        }
        // A program on the node has the service's own address as its source, and ranges with the node's
        // address let that in.
        "ranges::the_node_gets_through_by_an_address_in_a_range" => {
            let Some(Check::Each(traffic, Expected::IsDropped)) = checks.nth(1) else {
                panic!("{name} changed")
            };
            traffic.senders.retain(|sender| *sender != Sender::Node);
            assert_eq!(traffic.senders.len(), 1, "{name} changed");
        }
        // Without endpoints nobody listens, so that outsiders are refused too.
        "ranges::outsiders_are_dropped_also_where_others_are_refused" => {
            drop(checks);
            replace(&mut scenario, &Expected::IsDropped, &Expected::IsRefused);
        }
        // A bystander takes a port for both protocols, and one of them is served. What passes untouched
        // meets nobody then.
        "ports::a_node_port_of_one_protocol_is_no_node_port_of_another"
        | "ports::a_second_protocol_may_join_a_node_port" => {
            drop(checks);
            replace(&mut scenario, &Expected::PassesUntouched, &Expected::IsRefused);
        }
        _ => {}
    }
    scenario
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

macro_rules! play_each {
    ($($group:ident { $($scenario:ident)* })*) => {$(
        mod $group {
            use super::*;

            $(
                #[test]
                fn $scenario() {
                    isolated(|| play(concat!(stringify!($group), "::", stringify!($scenario))));
                }
            )*
        }
    )*};
}

every_scenario!(play_each);

/// What is left out of the table: packets that take a need that is not met, and no scenario as a whole.
#[test]
fn of_the_table_only_sctp_and_what_shows_clients_is_left_out() {
    for named in all() {
        let scenario = adapted(named.name);
        let checks: Vec<_> = scenario.steps.iter().flat_map(|step| &step.checks).collect();
        let count = |protocols: &[Protocol], lacks: bool| {
            let packets = checks.iter().flat_map(|check| check.packets().map(move |packet| (check, packet)));
            let counted = packets.filter(|(check, packet)| {
                protocols.contains(&packet.protocol) && check.lacks(packet, &[Need::ClientAddress]) == lacks
            });
            counted.count()
        };
        let shown = count(&[Protocol::Tcp, Protocol::Udp], true);
        let left_out = count(&[Protocol::Sctp], true) + count(&[Protocol::Sctp], false) + shown;
        let wanted = if left_out == 0 { LeftOut::Nothing } else { LeftOut::Packets(left_out) };
        assert_eq!(scenario.left_out(&UNMET), wanted, "{}", named.name);
        println!("{}: {left_out} packets left out, {shown} of them since they show clients", named.name);
    }
}

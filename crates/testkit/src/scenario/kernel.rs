//! Scenarios with real packets.
//!
//! What serves the node (a backend in this process, a program, another proxy) is a
//! [`ServedNode`]; [`run`] gives it the events and asks by TCP and UDP, and by SCTP where the kernel has it, what
//! became of it.
//!
//! A packet does not count as dropped because no host had its destination: a *bystander* listens at every address that a
//! scenario sends to, in the world beyond the node or on the node itself, and answers what gets through to
//! it. So a packet that passes untouched is answered by a bystander, and silence means that it was dropped.
//!
//! Datagrams and associations come from a new port each, since flows that are still tracked would go where they went.

mod network;
mod probe;

use std::thread::sleep;

use portolan_core::event::Event;

use self::network::ScenarioNetwork;
use super::check::Check;
use super::{LeftOut, Memory, Mismatch, Need, Network, Scenario, Step};
use crate::netns::{NetnsError, Topology, speaks_sctp};

/// A node of a [`Topology`] with a proxy.
pub trait ServedNode {
    /// The network that the node is in. Nothing else may listen in its pods, and on the node nothing at
    /// the addresses that a scenario asks.
    fn network(&self) -> &Topology;

    /// Makes the node follow these events, and returns when it does.
    fn follow(&mut self, events: Vec<Event>);

    /// Asserts what must hold whatever the objects are; called after each scenario.
    fn assert_sound(&mut self);

    /// Whether it answers by listening at the node's own addresses, as a relay does. Bystanders on the node
    /// then stand only where a packet passes untouched, and only while it does: two cannot have one port.
    fn listens_on_the_node(&self) -> bool {
        false
    }
}

/// The network that a scenario plays in.
///
/// # Errors
/// As [`Topology::routed`].
pub fn network(scenario: &Scenario) -> Result<Topology, NetnsError> {
    match scenario.network {
        Network::Routed => Topology::routed(super::packet::MOST_PODS),
        Network::Bridged => Topology::bridged(super::packet::MOST_PODS),
    }
}

/// Plays a scenario and compares. Packets that need what is `unmet` are not sent, nor those of SCTP where the
/// kernel has none, which is printed then.
///
/// # Panics
/// Something else becomes of a packet than the scenario says; the message names all such packets of one
/// step. Or the network cannot be made ready, or the kernel lacks SCTP although the environment says
/// `PORTOLAN_SCTP=required`.
pub fn run(name: &str, scenario: &Scenario, node: &mut impl ServedNode, unmet: &[Need]) {
    let play = |node: &mut _| -> Result<(), NetnsError> {
        let unmet = &unmet_here(name, scenario, unmet)?;
        let mut site = ScenarioNetwork::prepare(ServedNode::network(node), scenario)?;
        for (number, step) in scenario.steps.iter().enumerate() {
            let failures = play_step(step, node, &mut site, unmet)?;
            assert!(failures.is_empty(), "{name}, step {}:\n  {}", number + 1, failures.join("\n  "));
        }
        site.assert_associations_were_real()
    };
    if let Err(error) = play(node) {
        panic!("{name}: {}", portolan_core::backend::error_chain(&error));
    }
    node.assert_sound();
}

/// What is unmet, with what the kernel lacks.
fn unmet_here(name: &str, scenario: &Scenario, unmet: &[Need]) -> Result<Vec<Need>, NetnsError> {
    let mut unmet = unmet.to_vec();
    if !unmet.contains(&Need::Sctp) && !speaks_sctp()? {
        unmet.push(Need::Sctp);
        if let LeftOut::Packets(of_sctp) = scenario.left_out(&[Need::Sctp]) {
            report(&format!("{name}: this kernel has no SCTP, so {of_sctp} kinds of packet are not sent"));
        }
    }
    Ok(unmet)
}

#[expect(clippy::print_stdout, reason = "what a test prints is for the one who runs it")]
fn report(line: &str) {
    println!("{line}");
}

/// Returns what is not as it should be.
fn play_step<N: ServedNode>(
    step: &Step,
    node: &mut N,
    site: &mut ScenarioNetwork,
    unmet: &[Need],
) -> Result<Vec<String>, NetnsError> {
    if node.listens_on_the_node() {
        site.dismiss_bystanders_on_the_node();
    }
    site.add_node_addresses(&step.node_addresses)?;
    node.follow(step.events.clone());
    sleep(step.wait);
    let posted = |check: &&Check| !node.listens_on_the_node() || check.passes_packets_untouched();
    let (posted, left): (Vec<_>, Vec<_>) = step.checks.iter().partition(posted);
    site.post_bystanders(posted.iter().copied().flat_map(Check::packets))?;
    site.post_bystanders_beyond(left.iter().copied().flat_map(Check::packets))?;
    let mut failures = Vec::new();
    for check in &step.checks {
        failures.extend(site.hold(check, unmet)?);
    }
    Ok(failures)
}

impl ScenarioNetwork {
    /// Puts one check to the test.
    fn hold(&mut self, check: &Check, unmet: &[Need]) -> Result<Vec<String>, NetnsError> {
        let packets: Vec<_> = check.packets().filter(|packet| !check.lacks(packet, unmet)).collect();
        let result = |memory: &Memory, holds: bool, what: String| {
            if holds { Vec::new() } else { vec![format!("{what}: {memory:?}")] }
        };
        match check {
            Check::Each(_, expected) => {
                let found = self.find(&packets, expected)?;
                let judged = packets.iter().zip(&found).map(|(packet, found)| expected.judge(packet, found));
                Ok(judged.filter_map(Result::err).map(|mismatch: Mismatch| mismatch.to_string()).collect())
            }
            Check::Stay(comers) => self.find_staying(comers, &packets).map(|staying| staying.strayed),
            Check::SomeMoved(comers) => {
                let staying = self.find_moving(comers, &packets)?;
                let moved = result(&self.memory, staying.moved > 0, "no client moved".into());
                Ok([staying.strayed, moved].concat())
            }
            Check::Spread(memory) => {
                let holds = self.memory.is_spread(memory);
                Ok(result(&self.memory, holds, format!("all have the same endpoint in {memory}")))
            }
            Check::Apart(one, other) => {
                let holds = self.memory.are_apart(one, other);
                Ok(result(&self.memory, holds, format!("{one} and {other} agree on every client")))
            }
        }
    }
}

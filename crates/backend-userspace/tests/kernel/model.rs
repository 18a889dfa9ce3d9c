//! Random clusters, configurations, addresses and restarts: the sockets always come to be those of the plan.
//!
//! What should be open is worked out from the plan alone, and what is open is read from `/proc/net`, so that
//! the code that is tested has no part in either.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portolan_backend_userspace::Options;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::plan::{NodePortAddresses, Unserved};
use portolan_core::{IpFamily, NodePlan, Protocol, ServicePort};
use portolan_testkit::netns::{Namespace, Topology, isolated, wait_until};
use portolan_testkit::objects::ip;
use portolan_testkit::{random, world};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::held::{Open, open};
use crate::node::{LEAST, Node};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
enum Step {
    Event(Box<Event>),
    /// The node gets an address, or loses it.
    Address(bool),
    Restart,
    Apply,
}

fn steps() -> impl Strategy<Value = (NodeConfig, Vec<Step>)> {
    let step = prop_oneof![
        12 => world::event().prop_map(|event| Step::Event(Box::new(event))),
        5 => Just(Step::Apply),
        1 => any::<bool>().prop_map(Step::Address),
        1 => Just(Step::Restart),
    ];
    (world::any_config(), proptest::collection::vec(step, 1..50))
}

/// What should be open by the plan, given the node's addresses.
fn wanted(plan: &NodePlan, addresses: &BTreeSet<IpAddr>) -> Open {
    let (mut open, mut claimed) = (Open::new(), Open::new());
    let ports = || plan.service_ports.iter().filter(|(name, _)| name.protocol != Protocol::Sctp);
    let answers = |port: &ServicePort, is_unserved: bool| !is_unserved || port.unserved == Unserved::Drop;
    for (name, port) in ports() {
        let internal = answers(port, port.internal_endpoints().is_empty());
        let external = answers(port, is_unserved_outside(port));
        let cluster = port.cluster_ip.into_iter().map(|address| (address, internal));
        for (address, is_open) in cluster.chain(port.external_addresses().map(|address| (address, external)))
        {
            let place = (name.protocol, SocketAddr::new(address, port.port));
            claimed.insert(place);
            open.extend(is_open.then_some(place));
        }
    }
    for (name, port) in ports().filter(|(_, port)| answers(port, is_unserved_outside(port))) {
        let Some(number) = port.node_port else { continue };
        let accepted =
            addresses.iter().filter(|address| IpFamily::of(**address) == plan.family).filter(|address| {
                match &plan.node.node_port_addresses {
                    NodePortAddresses::All => true,
                    NodePortAddresses::Within(ranges) => ranges.iter().any(|range| range.contains(*address)),
                }
            });
        let places = accepted.map(|address| (name.protocol, SocketAddr::new(*address, number)));
        open.extend(places.filter(|place| !claimed.contains(place)));
    }
    open
}

fn is_unserved_outside(port: &ServicePort) -> bool {
    port.external_endpoints().is_empty() && port.cluster_endpoints.is_empty()
}

/// The node's addresses, without loopback's.
fn addresses(node: &Namespace) -> BTreeSet<IpAddr> {
    let list = node.ip("-oneline addr show").unwrap();
    let address = |line: &str| {
        let text = line.split_whitespace().skip_while(|word| !word.starts_with("inet")).nth(1)?;
        Some(ip(text.split('/').next()?))
    };
    list.lines().filter_map(address).filter(|address| !address.is_loopback()).collect()
}

/// What is open is what should be; changed addresses are noticed a moment later.
fn assert_open(node: &Node) -> Result<(), TestCaseError> {
    let both = || {
        let addresses = addresses(node.net.node());
        let wanted = IpFamily::ALL.iter().flat_map(|family| wanted(node.state.plan(*family), &addresses));
        (wanted.collect::<Open>(), node.net.node().run(open).unwrap())
    };
    let are_equal = || {
        let (wanted, open) = both();
        wanted == open
    };
    if wait_until("the sockets are those of the plan", PATIENCE, are_equal).is_err() {
        let (wanted, open) = both();
        prop_assert_eq!(open, wanted);
    }
    prop_assert_eq!(node.ours(), node.planned());
    prop_assert_eq!(node.counters.unserved.get(), 0);
    Ok(())
}

fn play(node: Node, config: NodeConfig, steps: Vec<Step>) -> (Node, Result<(), TestCaseError>) {
    let mut node = node.renewed(config);
    let mut outcome = Ok(());
    for step in steps.into_iter().chain([Step::Apply]) {
        match step {
            Step::Event(event) => node.state.handle(*event),
            Step::Address(comes) => {
                // It may be there or gone already.
                let _ = node
                    .net
                    .node()
                    .ip(&format!("addr {} 192.0.2.9/32 dev lo", if comes { "add" } else { "del" }));
            }
            Step::Restart => {
                node.stop();
                node = node.restart();
            }
            Step::Apply => {
                node.apply([]);
                outcome = assert_open(&node);
            }
        }
        if outcome.is_err() {
            return (node, outcome);
        }
    }
    let repeated = node.apply([]) + node.compare_all();
    let outcome =
        if repeated == 0 { Ok(()) } else { Err(TestCaseError::fail("the same plan changed something")) };
    (node, outcome)
}

#[test]
fn random_changes_leave_exactly_the_sockets_of_the_plan() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let node = RefCell::new(Some(Node::with(net, world::config(), Options::default(), &LEAST)));
        let config = Config { max_shrink_iters: 60, ..random::cases(25) };
        let outcome = TestRunner::new(config).run(&steps(), |(config, steps)| {
            let (after, outcome) = play(node.take().unwrap(), config, steps);
            node.replace(Some(after));
            outcome
        });
        if let Err(failure) = outcome {
            panic!("{failure}");
        }
    });
}

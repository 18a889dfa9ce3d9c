//! Random clusters: what is reached step by step is what a fresh start makes.

use std::cell::Cell;

use portolan_core::IpFamily;
use portolan_core::event::Event;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Candidate, Node};
use crate::netns::{Namespace, Program};
use crate::random;
use crate::world::{self, World};

#[derive(Debug, Clone)]
enum Step {
    /// The cluster changes.
    Events(Vec<Event>),
    /// The process ends and another begins.
    Restart,
    /// Something failed, so that nothing is known.
    CompareAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => proptest::collection::vec(world::event(), 1..6).prop_map(Step::Events),
        1 => Just(Step::Restart),
        1 => Just(Step::CompareAll),
    ];
    proptest::collection::vec(step, 1..8)
}

/// Plays random clusters, each on its own two nodes.
///
/// # Panics
/// Something does not hold; the smallest steps to it are printed.
pub(super) fn check<C: Candidate>(start: fn(&str) -> C, cases: u32) {
    let config = Config { max_shrink_iters: 40, ..random::cases(cases) };
    // What a case that failed has left is not met by those that look for a smaller one.
    let case = Cell::new(0);
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        case.set(case.get() + 1);
        play(start, steps, case.get())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

fn play<C: Candidate>(start: fn(&str) -> C, steps: Vec<Step>, case: u32) -> Result<(), TestCaseError> {
    let namespaces = ["long", "fresh"].map(|name| Fresh::new(&format!("{name}{case}")));
    let node = |at: &Fresh| Node::new(at.0.name(), &at.0, start, world::config());
    let mut world = World::default();
    let mut long = node(&namespaces[0]);
    let untouched = long.holds();
    for step in steps {
        match step {
            Step::Events(events) => {
                for event in &events {
                    world.handle(event);
                }
                long.apply(events);
            }
            Step::Restart => {
                long.restart();
                long.apply([]);
            }
            Step::CompareAll => drop(long.compare_all()),
        }
    }
    long.assert_sound();

    let mut fresh = node(&namespaces[1]);
    fresh.apply(world.lists());
    for ((family, long), fresh) in IpFamily::ALL.into_iter().zip(long.holds()).zip(fresh.holds()) {
        prop_assert_eq!(long, fresh, "{}", family);
    }

    for node in [&mut long, &mut fresh] {
        node.clean();
        prop_assert_eq!(&node.holds(), &untouched, "cleanup leaves something");
    }
    Ok(())
}

/// A namespace that goes with its case.
struct Fresh(Namespace);

impl Fresh {
    fn new(name: &str) -> Self {
        let namespace = Namespace::create(name).unwrap_or_else(|error| panic!("{error}"));
        // A node without it is none: its own addresses are reached through it.
        namespace.ip("link set lo up").unwrap_or_else(|error| panic!("{error}"));
        Self(namespace)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // The test's own namespaces go with it anyway; what fails here fails the next case.
        drop(Program::new("ip").args(["netns", "del", self.0.name()]).run());
    }
}

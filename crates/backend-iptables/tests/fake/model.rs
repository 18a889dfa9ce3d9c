//! Random clusters, failures and restarts: in the end the rules equal those of a fresh start.

use portolan_testkit::random;
use proptest::prelude::*;

use super::*;
use crate::kernel::{locked, out_of_memory};

#[derive(Debug, Clone)]
enum Step {
    Event(Box<Event>),
    /// The next call of a program fails.
    Fail(bool),
    /// The proxy is killed while it writes, after so many sections of one input.
    Die(usize),
    Restart,
    /// Another process removes rules at this place.
    Meddle(u8),
    Apply,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        14 => world::event().prop_map(|event| Step::Event(Box::new(event))),
        5 => Just(Step::Apply),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => (0..1_usize).prop_map(Step::Die),
        1 => Just(Step::Restart),
        1 => any::<u8>().prop_map(Step::Meddle),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Applies until it succeeds and all is intact, as the sync loop does: after an error, or where something is missed,
/// everything is compared.
fn settle(node: &mut Node) {
    for family in IpFamily::ALL {
        for attempt in 0.. {
            let outcome = node.try_apply(family);
            let is_intact = block_on(node.backend(family).is_intact());
            match (outcome, is_intact) {
                (Ok(_), Ok(true)) => break,
                (Ok(_), Ok(false)) => {
                    assert!(attempt < 70, "others' changes are found again and again");
                    node.state.forget_applied(family);
                }
                // It is looked again in the next sync period.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => {
                    assert!(attempt < 70, "{error:?}");
                    node.fake(family).kernel().dies_after = None;
                    node.state.forget_applied(family);
                }
            }
        }
    }
}

/// Another process takes a rule away.
fn meddle(node: &mut Node, place: u8) {
    for family in IpFamily::ALL {
        let fake = node.fake(family);
        let mut kernel = fake.kernel();
        if let Some(chains) = kernel.tables.get_mut(if place.is_multiple_of(2) { "nat" } else { "filter" }) {
            let count = chains.len().max(1);
            if let Some(rules) = chains.values_mut().nth(usize::from(place / 2) % count) {
                rules.pop();
            }
        }
    }
}

proptest! {
    #![proptest_config(random::cases(200))]

    #[test]
    fn after_failures_restarts_and_damage_the_rules_equal_those_of_a_fresh_start(steps in steps(), limit in 1..40_usize) {
        let mut world = World::default();
        let mut node = Node::on(|| Fake::default().with_chains_at_once(limit), world::config(), []);
        for step in steps {
            match step {
                Step::Event(event) => {
                    world.handle(&event);
                    node.handle([*event]);
                }
                Step::Fail(is_locked) => {
                    let failure = if is_locked { locked } else { out_of_memory };
                    node.each_kernel(|kernel| kernel.failures.push(failure));
                }
                Step::Die(sections) => {
                    node.each_kernel(|kernel| kernel.dies_after = Some(sections));
                }
                Step::Restart => node = node.restart(),
                Step::Meddle(place) => meddle(&mut node, place),
                Step::Apply => {
                    settle(&mut node);
                    node.each_kernel(|kernel| kernel.failures.clear());
                    node.assert_as_from_scratch(world.lists());
                }
            }
        }
        node.each_kernel(|kernel| {
            kernel.failures.clear();
            kernel.dies_after = None;
        });
        settle(&mut node);
        node.assert_as_from_scratch(world.lists());
        for family in IpFamily::ALL {
            prop_assert_eq!(node.try_apply(family).unwrap().operations, 0, "the same plan once more");
        }
        let mut node = node.restart();
        for family in IpFamily::ALL {
            let report = node.try_apply(family).unwrap();
            prop_assert_eq!(report.operations, 0, "a restart: {:#?}", node.fake(family).kernel().inputs.last());
        }
    }
}

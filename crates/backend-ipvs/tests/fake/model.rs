//! Random clusters, random failures, random restarts: the kernel always comes to hold what the plan takes.

use std::time::Duration;

use portolan_core::IpFamily;
use portolan_core::event::Event;
use portolan_testkit::random;
use portolan_testkit::world::{self, World};
use proptest::prelude::*;

use crate::node::Node;

#[derive(Debug, Clone)]
enum Step {
    Event(Box<Event>),
    /// The kernel refuses something after so many more changes.
    Fail(usize),
    /// The process dies.
    Restart,
    Apply,
    /// Time passes, in seconds.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => world::event().prop_map(|event| Step::Event(Box::new(event))),
        4 => Just(Step::Apply),
        1 => (0..6_usize).prop_map(Step::Fail),
        1 => Just(Step::Restart),
        2 => (0..5_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Applies until the kernel takes it; each failure is used up by one attempt.
fn settle(node: &mut Node) -> usize {
    let mut settle = |family| {
        for _ in 0..70 {
            if let Ok(report) = node.try_apply(family) {
                return report.operations;
            }
        }
        panic!("{family} did not settle");
    };
    IpFamily::ALL.map(&mut settle).iter().sum()
}

proptest! {
    #![proptest_config(random::cases(400))]

    #[test]
    fn whatever_happens_the_kernel_comes_to_hold_what_the_plan_takes(
        config in world::any_config(),
        steps in steps(),
    ) {
        let mut world = World::default();
        let mut node = Node::new(config.clone(), []);
        for step in steps {
            match step {
                Step::Event(event) => {
                    world.handle(&event);
                    node.handle([*event]);
                }
                Step::Fail(after) => {
                    node.fail_after(Some(after));
                }
                Step::Restart => node = node.restart(),
                Step::Apply => drop(settle(&mut node)),
                Step::Pass(seconds) => node.pass(Duration::from_secs(seconds)),
            }
        }
        node.fail_after(None);
        settle(&mut node);
        // Endpoints without connections go when they are looked at.
        node.pass(Duration::from_secs(100));
        settle(&mut node);

        let mut fresh = Node::new(config, world.lists());
        settle(&mut fresh);
        for family in IpFamily::ALL {
            prop_assert_eq!(node.held(family), fresh.held(family));
        }
        // A second comparison changes nothing.
        prop_assert_eq!(settle(&mut node), 0);
        for family in IpFamily::ALL {
            prop_assert!(node.is_intact(family));
            node.process.state.forget_applied(family);
        }
        prop_assert_eq!(settle(&mut node), 0);
        let mut node = node.restart();
        for family in IpFamily::ALL {
            node.kernels[family].state().log.clear();
        }
        settle(&mut node);
        for family in IpFamily::ALL {
            prop_assert_eq!(&node.kernels[family].state().log, &[]);
            prop_assert_eq!(node.held(family), fresh.held(family));
        }
    }
}

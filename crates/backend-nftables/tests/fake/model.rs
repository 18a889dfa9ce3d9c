//! Random clusters, random failures, random restarts: the tables always come to serve the plan.

use portolan_nft::TableDump;
use portolan_testkit::random;
use proptest::prelude::*;

use super::*;

/// `EINVAL`, `EBUSY`, `ENOENT`, `EEXIST`, `ENOMEM`: linux/errno-base.h.
const ERRNOS: [i32; 5] = [22, 16, 2, 17, 12];

#[derive(Debug, Clone)]
enum Step {
    Event(Box<Event>),
    /// The kernel refuses the next commit.
    Fail(i32),
    /// The process dies.
    Restart,
    Apply,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => world::event().prop_map(|event| Step::Event(Box::new(event))),
        4 => Just(Step::Apply),
        1 => prop::sample::select(ERRNOS.to_vec()).prop_map(Step::Fail),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Applies until the kernel takes it; a scripted failure is used up by each attempt.
fn settle(node: &mut Node) -> usize {
    let mut attempts = 0;
    let mut settle = |family| loop {
        match node.try_apply(family) {
            Ok(report) => return report.operations,
            Err(error) => assert!(attempts < 70, "{error:?}"),
        }
        attempts += 1;
    };
    IpFamily::ALL.map(&mut settle).iter().sum()
}

proptest! {
    #![proptest_config(random::cases(300))]

    #[test]
    fn whatever_happens_the_tables_come_to_serve_the_plan(steps in steps()) {
        let mut world = World::default();
        let mut node = Node::new(config(), []);
        for step in steps {
            match step {
                Step::Event(event) => {
                    world.handle(&event);
                    node.handle([*event]);
                }
                Step::Fail(errno) => node.tables().fail_next(errno),
                Step::Restart => node = node.restart(),
                Step::Apply => {
                    settle(&mut node);
                    node.assert_serves_the_plan();
                }
            }
        }
        settle(&mut node);
        node.assert_serves_the_plan();

        // The same tables as a node that never knew anything else has, but for the order
        // of slots and for class chains kept for later.
        let mut fresh = Node::new(config(), world.lists());
        fresh.apply_all();
        for family in IpFamily::ALL {
            let dump = |node: &Node| node.tables().dump(&table(family)).unwrap().unwrap();
            let (incremental, scratch) = (dump(&node), dump(&fresh));
            prop_assert_eq!(View::of(&incremental), View::of(&scratch));
            for chain in &scratch.chains {
                prop_assert_eq!(incremental.chain(&chain.chain.name), Some(chain));
            }
            let ranges = |dump: &TableDump| {
                let mut ranges: Vec<_> = dump.set("nodeport-ips").unwrap().elements.iter().collect();
                ranges.sort_by_key(|range| range.key);
                ranges
            };
            prop_assert_eq!(ranges(&incremental), ranges(&scratch));
        }

        // And it stays so without another word.
        prop_assert_eq!(settle(&mut node), 0);
        let mut node = node.restart();
        let operations = settle(&mut node);
        // "Busy" only postpones a sweep; use up what failures are left.
        for _ in 0..60 {
            node = node.restart();
            settle(&mut node);
        }
        let stale: usize = IpFamily::ALL.iter().map(|family| {
            let dump = fresh.tables().dump(&table(*family)).unwrap().unwrap();
            let kept = node.tables().dump(&table(*family)).unwrap().unwrap();
            kept.chains.len() - dump.chains.len()
        }).sum();
        prop_assert_eq!(stale, 0, "a restart sweeps unused chains");
        prop_assert!(operations <= 64, "a restart wrote {} things", operations);
        prop_assert_eq!(settle(&mut node.restart()), 0);
    }
}

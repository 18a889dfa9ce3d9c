//! The scenario table with real packets, one test for each scenario that holds in this mode.

use portolan_backend_ipvs::Options;
use portolan_testkit::every_scenario;
use portolan_testkit::netns::isolated;
use portolan_testkit::scenario::kernel::{network, run};
use portolan_testkit::scenario::{LeftOut, Need, all, named};

use crate::node::Node;

/// What this mode does in its own way, as kube-proxy's does, besides what a level of tests cannot send.
const UNMET: [Need; 7] = [
    Need::Sctp,
    Need::DropWithoutLocalEndpoints,
    Need::ServiceCidrs,
    Need::SharedAffinity,
    Need::LocalShortCut,
    Need::OpenExternalPorts,
    Need::OuterSource,
];

/// How many scenarios that leaves out.
const LEFT_OUT: usize = 46;

/// Scenarios besides that do not hold in this mode, by reason.
const DIFFERENT: [(&str, &[&str]); 2] = [
    (
        "the kernel forgets no client of which it remembers a connection, and that is minutes",
        &["affinity::a_client_is_forgotten_when_its_time_is_over", "affinity::a_changed_time_is_followed"],
    ),
    (
        "round robin deals endpoints out in the same order everywhere, so that clients agree by chance",
        &[
            "affinity::families_do_not_influence_each_other",
            "affinity::ports_of_a_service_do_not_influence_each_other",
        ],
    ),
];

/// Whether a scenario holds in this mode; one that does not is counted by
/// [`scenarios_that_do_not_hold_are_as_many_as_are_known`].
fn holds(name: &str) -> bool {
    let is_different = DIFFERENT.iter().any(|(_, names)| names.contains(&name));
    !is_different && named(name).scenario.left_out(&UNMET) != LeftOut::Everything
}

fn play(name: &str) {
    if !holds(name) {
        return;
    }
    let scenario = named(name).scenario;
    let net = network(&scenario).unwrap();
    let mut node = Node::new(net, scenario.config.clone(), Options::default());
    run(name, &scenario, &mut node, &UNMET);
    node.clean();
    assert_eq!(node.servers().lines().count(), 3, "{}", node.servers());
}

macro_rules! play_each {
    ($($group:ident { $($scenario:ident)* })*) => {$(
        mod $group {
            use super::*;

            $(
                #[test]
                #[ignore = "needs IPVS: run by tests/vm"]
                fn $scenario() {
                    isolated(|| play(concat!(stringify!($group), "::", stringify!($scenario))));
                }
            )*
        }
    )*};
}

every_scenario!(play_each);

#[test]
fn scenarios_that_do_not_hold_are_as_many_as_are_known() {
    let names: Vec<_> = DIFFERENT.iter().flat_map(|(_, names)| names.iter()).collect();
    let table = all();
    for name in &names {
        assert!(table.iter().any(|scenario| scenario.name == **name), "{name}");
        assert_eq!(names.iter().filter(|other| other == &name).count(), 1, "{name}");
    }
    let by_need: Vec<_> = table
        .iter()
        .filter(|named| named.scenario.left_out(&UNMET) == LeftOut::Everything)
        .map(|named| named.name)
        .collect();
    assert_eq!(by_need.len(), LEFT_OUT, "{by_need:#?}");
}

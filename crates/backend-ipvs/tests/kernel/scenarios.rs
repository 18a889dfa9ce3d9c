//! The scenario table with real packets, one test for each scenario that holds in this mode.

use portolan_backend_ipvs::Options;
use portolan_testkit::every_scenario;
use portolan_testkit::netns::isolated;
use portolan_testkit::scenario::kernel::{network, run};
use portolan_testkit::scenario::{LeftOut, Need, all, named};

use crate::node::Node;

/// What this mode does in its own way, as kube-proxy's does, besides what a level of tests cannot send.
const UNMET: [Need; 4] =
    [Need::Sctp, Need::DropWithoutLocalEndpoints, Need::ServiceCidrs, Need::SharedAffinity];

/// How many scenarios that leaves out.
const LEFT_OUT: usize = 0;
/// How many are left out besides.
const DIFFERENT_NAMES: usize = 32;

/// Scenarios that hold no more in this mode, by reason.
const DIFFERENT: [(&str, &[&str]); 6] = [
    (
        "under a Local policy pods and the node have the list of everybody else: a virtual server has one",
        &[
            "external_policy::local_leads_pods_to_every_endpoint_and_shows_them_as_they_are",
            "external_policy::local_leads_the_node_to_every_endpoint_by_its_own_address",
            "external_policy::local_takes_pods_for_clients_where_nothing_tells_them",
            "external_policy::local_refuses_once_no_endpoint_is_anywhere",
            "external_policy::local_turns_cluster_and_back",
            "external_policy::local_goes_with_internal_local",
            "terminating::external_local_falls_back_to_those_here_though_others_are_ready",
            "masquerade::matrix_on_a_node_that_tells_pods",
            "masquerade::matrix_on_a_node_that_tells_nobody",
            "masquerade::matrix_with_masquerade_all_on_a_node_that_tells_pods",
            "masquerade::matrix_with_masquerade_all_on_a_node_that_tells_nobody",
            "hairpin::a_pod_reaches_itself_under_local_policies",
            "hairpin::a_pod_on_a_bridge_reaches_itself_under_local_policies",
            "hairpin::a_terminating_pod_reaches_itself_while_none_is_ready",
            "detection::cluster_cidr_tells_pods_by_their_address",
            "detection::node_cidr_tells_pods_by_the_pod_cidrs_of_the_node",
            "detection::node_cidr_follows_the_node",
            "detection::interface_name_prefix_tells_pods_by_their_cable",
            "detection::bridge_interface_tells_pods_by_their_bridge",
            "topology::local_policies_do_not_ask_for_hints",
            "host_network::a_program_on_the_node_is_an_endpoint_here",
        ],
    ),
    (
        "addresses from outside the cluster are the node's own here, and refuse other ports",
        &["unserved::another_port_of_an_external_address_is_left_alone"],
    ),
    (
        "what the node sends to an address of a Service comes from that address",
        &["ranges::the_node_gets_through_by_an_address_in_a_range"],
    ),
    (
        "each address has a memory of its own for clients that stay",
        &[
            "affinity::an_endpoint_elsewhere_is_not_used_by_a_local_cluster_ip_though_it_is_remembered",
            "affinity::a_pod_stays_with_itself",
            "affinity::ranges_guard_a_service_that_clients_stay_with",
            "affinity::affinity_can_be_turned_off_and_on",
            "affinity::clients_are_refused_when_all_endpoints_go_and_served_when_one_comes",
        ],
    ),
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
    assert_eq!((names.len(), by_need.len()), (DIFFERENT_NAMES, LEFT_OUT), "{by_need:#?}");
}

//! The conformance kit with each kind of iptables: a test for each scenario, and random clusters.
//!
//! `conformance_tests!` would play everything twice. The kinds differ in their programs and not in our rules, so of
//! iptables-legacy only what the kinds could do differently is played by default.

use portolan_backend_iptables::programs::Variant;
use portolan_testkit::conformance::Standing;
use portolan_testkit::scenario::all;

use crate::candidate::kit;

/// The scenarios that are about nothing but what is unmet.
const DIFFERENT: [&str; 9] = [
    "unserved::another_port_of_a_cluster_ip_is_refused",
    "unserved::another_port_of_a_cluster_ip_without_endpoints_is_refused",
    "unserved::an_unallocated_service_address_is_dropped",
    "unserved::drops_follow_the_service_cidrs",
    "unserved::a_deleted_service_gives_its_cluster_ip_back_to_the_service_cidr",
    "ranges::outsiders_are_dropped_also_where_others_are_refused",
    "node_ports::a_node_port_without_endpoints_is_refused_only_where_it_would_answer",
    "node_ports::a_local_policy_drops_only_where_the_node_port_would_answer",
    "ports::a_port_of_one_protocol_is_no_port_of_another",
];

macro_rules! play_group {
    ($attribute:tt $group:ident { $($scenario:ident)* }) => {
        mod $group {
            $(
                #[test]
                #$attribute
                fn $scenario() {
                    let name = concat!(stringify!($group), "::", stringify!($scenario));
                    portolan_testkit::netns::isolated(|| crate::candidate::kit(super::VARIANT).play(name));
                }
            )*
        }
    };
}

macro_rules! play_each {
    ($($group:ident $scenarios:tt)*) => {
        $(play_group! { [cfg(test)] $group $scenarios })*
    };
}

/// What the kinds could do differently: matches by range, type and state, masquerading, and refusals.
macro_rules! play_some {
    (external_policy $scenarios:tt) => { play_group! { [cfg(test)] external_policy $scenarios } };
    (hairpin $scenarios:tt) => { play_group! { [cfg(test)] hairpin $scenarios } };
    (masquerade $scenarios:tt) => { play_group! { [cfg(test)] masquerade $scenarios } };
    (node_ports $scenarios:tt) => { play_group! { [cfg(test)] node_ports $scenarios } };
    (ranges $scenarios:tt) => { play_group! { [cfg(test)] ranges $scenarios } };
    (unserved $scenarios:tt) => { play_group! { [cfg(test)] unserved $scenarios } };
    ($group:ident $scenarios:tt) => {
        play_group! {
            [ignore = "half a minute, and as with iptables-nft: cargo nextest run -p portolan-backend-iptables --run-ignored all"]
            $group $scenarios
        }
    };
}

macro_rules! play_some_of_each {
    ($($group:ident $scenarios:tt)*) => {
        $(play_some! { $group $scenarios })*
    };
}

mod nft {
    const VARIANT: portolan_backend_iptables::programs::Variant =
        portolan_backend_iptables::programs::Variant::Nft;
    portolan_testkit::every_scenario!(play_each);
}

mod legacy {
    const VARIANT: portolan_backend_iptables::programs::Variant =
        portolan_backend_iptables::programs::Variant::Legacy;
    portolan_testkit::every_scenario!(play_some_of_each);
}

fn random_clusters_come_to_what_a_fresh_start_makes(variant: Variant) {
    kit(variant).try_random_clusters();
}

crate::with_both_kinds! { random_clusters_come_to_what_a_fresh_start_makes }

#[test]
fn of_the_table_these_scenarios_are_left_out_and_no_others() {
    for variant in [Variant::Nft, Variant::Legacy] {
        let kit = kit(variant);
        let mut names: Vec<_> = all().into_iter().map(|named| named.name).collect();
        names.retain(|name| matches!(kit.standing(name), Standing::LeftOut(_)));
        let mut different = DIFFERENT.to_vec();
        names.sort_unstable();
        different.sort_unstable();
        assert_eq!(names, different, "iptables-{variant}");
    }
}

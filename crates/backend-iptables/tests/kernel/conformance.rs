//! The conformance kit with each kind of iptables: a test for each scenario, and random clusters.
//!
//! `conformance_tests!` would play everything twice. The kinds differ in their programs and not in our rules, so of
//! iptables-legacy only what the kinds could do differently is played by default.

use portolan_backend_iptables::programs::Variant;

use crate::candidate::kit;

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
fn conformance_table_is_up_to_date_for_both_variants() {
    for variant in [Variant::Nft, Variant::Legacy] {
        portolan_testkit::assert_table!(kit(variant));
    }
}

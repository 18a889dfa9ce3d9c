//! What the programs of the host make of our input: loaded and saved, it is what it was.

use portolan_core::IpFamily;
use portolan_testkit::netns::{Namespace, isolated};
use portolan_testkit::upstream::Xtables;

use super::read::ruleset;
use super::upstream::assert_same;
use super::{clusters, scenarios};

/// Loads input into a network namespace of its own, of this number, and reads it back.
fn assert_is_understood(kind: Xtables, number: usize, family: IpFamily, input: &str, what: &str) {
    let namespace = Namespace::create(&format!("node{number}")).unwrap();
    let loaded = namespace.run(|| {
        kind.restore(family, input)?;
        kind.save(family)
    });
    let saved = loaded.unwrap().unwrap_or_else(|error| {
        panic!("{what}: {}", portolan_core::backend::error_chain(&error));
    });
    assert_same(&ruleset(&saved), &ruleset(input), what);
}

fn assert_clusters_are_understood(kind: Xtables) {
    let inputs = clusters::all().into_iter().flat_map(|(name, cluster)| {
        cluster.inputs().map(|(family, input)| (input, family, format!("{name}, {family}")))
    });
    for (number, (input, family, what)) in inputs.enumerate() {
        assert_is_understood(kind, number, family, &input, &what);
    }
}

fn assert_scenarios_are_understood(kind: Xtables) {
    for (number, (input, family, what)) in scenarios::inputs().into_iter().enumerate() {
        assert_is_understood(kind, number, family, &input, &what);
    }
}

#[test]
fn iptables_nft_understands_all_kinds_of_rules() {
    isolated(|| assert_clusters_are_understood(Xtables::Nft));
}

#[test]
fn iptables_legacy_understands_all_kinds_of_rules() {
    isolated(|| assert_clusters_are_understood(Xtables::Legacy));
}

#[test]
fn iptables_nft_understands_the_rules_of_every_scenario() {
    isolated(|| assert_scenarios_are_understood(Xtables::Nft));
}

#[test]
fn iptables_legacy_understands_the_rules_of_every_scenario() {
    isolated(|| assert_scenarios_are_understood(Xtables::Legacy));
}

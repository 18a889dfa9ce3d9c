//! Rules that another proxy writes while ours runs.

use std::fs;

use portolan_core::IpFamily;
use portolan_iptables::programs::Variant;
use portolan_iptables::stale::{ForeignChains, Mode, Running};
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::upstream::{Service, Xtables, iptables, ipvs};

use crate::failure::{LEGACY, replace};
use crate::state::{BOTH, load_foreign, load_iptables, load_ipvs, removed, services};

/// The chains that are found in one family: the mode, and their version.
type Found = (Mode, IpFamily, u64);

/// Looks beside a mode that has no chains of kube-proxy's names.
fn look(chains: &mut ForeignChains) -> Vec<Found> {
    look_beside(chains, None)
}

fn look_beside(chains: &mut ForeignChains, running: Running) -> Vec<Found> {
    let all = BOTH.iter().flat_map(|mode| IpFamily::ALL.map(|family| (*mode, family)));
    let found = all.filter_map(|(mode, family)| {
        let version = chains.version(mode, running, family).unwrap()?;
        Some((mode, family, version))
    });
    found.collect()
}

fn modes(found: &[Found]) -> Vec<(Mode, IpFamily)> {
    found.iter().map(|(mode, family, _)| (*mode, *family)).collect()
}

fn of_both_families(mode: Mode) -> Vec<(Mode, IpFamily)> {
    IpFamily::ALL.map(|family| (mode, family)).into()
}

/// What kube-proxy writes when one more Service has come.
fn more_services() -> Vec<Service> {
    let more = [
        Service::new("default/more", "10.96.0.12:80").endpoint("10.244.0.13:8080"),
        Service::new("default/more", "[fd00:10:96::12]:80").endpoint("[fd00:10:244::13]:8080"),
    ];
    services().into_iter().chain(more).collect()
}

/// Chains are found, with the same version until they are written again, and no longer when they are removed.
fn assert_followed(mode: Mode, load: impl Fn(), write: impl Fn()) {
    for kind in Xtables::ALL {
        load_foreign(kind);
    }
    let mut watch = ForeignChains::default();
    assert_eq!(look(&mut watch), []);
    load();
    let found = look(&mut watch);
    assert_eq!(modes(&found), of_both_families(mode));
    assert_eq!(look(&mut watch), found);
    write();
    let written = look(&mut watch);
    assert_eq!(modes(&written), of_both_families(mode));
    assert!(found.iter().zip(&written).all(|(old, new)| old.2 != new.2), "{found:?} {written:?}");
    removed(&[Mode::Iptables]);
    assert_eq!(look(&mut watch), []);
}

/// The same rules once more: kube-proxy writes its lists with each sync.
#[test]
fn chains_in_tables_of_nf_tables_are_followed_even_if_the_same_is_written_again() {
    let write = || load_iptables(Xtables::Nft);
    isolated(|| assert_followed(Mode::Iptables, write, write));
}

#[test]
fn chains_in_legacy_tables_are_followed() {
    let write = |services: &[Service]| {
        for family in IpFamily::ALL {
            Xtables::Legacy.restore(family, &iptables::ruleset(family, services)).unwrap();
        }
    };
    isolated(|| assert_followed(Mode::Iptables, || write(&services()), || write(&more_services())));
}

#[test]
fn chains_of_the_ipvs_and_iptables_modes_are_distinguished_in_tables_of_both_variants() {
    isolated(|| {
        load_ipvs(Xtables::Nft);
        let found = look(&mut ForeignChains::default());
        assert_eq!(modes(&found), of_both_families(Mode::Ipvs));
        for family in IpFamily::ALL {
            Xtables::Legacy.restore(family, &ipvs::ruleset(family)).unwrap();
        }
        let of_both_kinds = look(&mut ForeignChains::default());
        assert_eq!(modes(&of_both_kinds), of_both_families(Mode::Ipvs), "both count as one");
        assert_ne!(of_both_kinds, found);
    });
}

#[test]
fn reading_legacy_tables_starts_no_program() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        let found = look(&mut ForeignChains::default());
        assert_eq!(found.len(), 2);
        replace(LEGACY, "exit 1");
        assert_eq!(look(&mut ForeignChains::default()), found);
        Program::new("umount").args([LEGACY]).run().unwrap();
    });
}

/// Our mode and kube-proxy's go by the same names: what is in tables of the other kind is another's, and so are chains
/// that our mode has not.
#[test]
fn beside_a_running_mode_only_chains_that_it_does_not_have_are_foreign() {
    isolated(|| {
        let mut watch = ForeignChains::default();
        let mut beside = |own, variant| modes(&look_beside(&mut watch, Some((own, variant))));
        load_iptables(Xtables::Nft);
        assert_eq!(beside(Mode::Iptables, Variant::Nft), []);
        assert_eq!(beside(Mode::Iptables, Variant::Legacy), of_both_families(Mode::Iptables));
        assert_eq!(beside(Mode::Ipvs, Variant::Nft), of_both_families(Mode::Iptables));
        load_ipvs(Xtables::Nft);
        assert_eq!(beside(Mode::Iptables, Variant::Nft), of_both_families(Mode::Ipvs));
        assert_eq!(
            beside(Mode::Ipvs, Variant::Nft),
            of_both_families(Mode::Ipvs),
            "kube-proxy's ipvs mode has more"
        );
    });
}

/// Looking must neither make tables nor load modules.
#[test]
fn looking_for_foreign_chains_creates_nothing() {
    isolated(|| {
        assert_eq!(look(&mut ForeignChains::default()), []);
        for file in ["ip_tables_names", "ip6_tables_names"] {
            assert_eq!(fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap(), "");
        }
        assert_eq!(crate::state::ruleset(), "");
    });
}

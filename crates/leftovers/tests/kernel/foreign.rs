//! Rules that another proxy writes while ours runs.

use std::fs;

use portolan_core::IpFamily;
use portolan_leftovers::{ForeignRules, ForeignWatch, Part, Variant};
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::upstream::{Service, Xtables, iptables, ipvs, nftables};

use crate::failure::{LEGACY, replace};
use crate::state::{load_foreign, load_iptables, load_ipvs, removed, services};

/// A watch beside a mode that has nothing of kube-proxy's names.
fn look(watch: &mut ForeignWatch) -> Vec<ForeignRules> {
    watch.look(&IpFamily::ALL, None, |_| None).unwrap()
}

fn parts(found: &[ForeignRules]) -> Vec<(Part, IpFamily)> {
    found.iter().map(|rules| (rules.part, rules.family)).collect()
}

fn of_both_families(part: Part) -> Vec<(Part, IpFamily)> {
    IpFamily::ALL.map(|family| (part, family)).into()
}

/// What kube-proxy writes when one more Service has come.
fn more_services() -> Vec<Service> {
    let more = [
        Service::new("default/more", "10.96.0.12:80").endpoint("10.244.0.13:8080"),
        Service::new("default/more", "[fd00:10:96::12]:80").endpoint("[fd00:10:244::13]:8080"),
    ];
    services().into_iter().chain(more).collect()
}

/// Found, the same while nothing is written, another when it is, and no more when it is gone.
fn assert_followed(part: Part, load: impl Fn(), write: impl Fn()) {
    for kind in Xtables::ALL {
        load_foreign(kind);
    }
    let mut watch = ForeignWatch::default();
    assert_eq!(look(&mut watch), []);
    load();
    let found = look(&mut watch);
    assert_eq!(parts(&found), of_both_families(part));
    assert_eq!(look(&mut watch), found);
    write();
    let written = look(&mut watch);
    assert_eq!(parts(&written), of_both_families(part));
    assert!(found.iter().zip(&written).all(|(old, new)| old.version != new.version), "{found:?} {written:?}");
    removed(&[Part::KubeProxyNftables, Part::Iptables]);
    assert_eq!(look(&mut watch), []);
}

fn load_nftables(services: &[Service]) {
    for family in IpFamily::ALL {
        Program::new("nft").args(["-f", "-"]).input(nftables::ruleset(family, services)).run().unwrap();
    }
}

#[test]
fn the_table_of_the_nftables_mode_is_followed() {
    let write_again = || {
        for family in ["ip", "ip6"] {
            Program::new("nft").args(["delete", "table", family, "kube-proxy"]).run().unwrap();
        }
        load_nftables(&more_services());
    };
    isolated(|| assert_followed(Part::KubeProxyNftables, || load_nftables(&services()), write_again));
}

/// The same rules once more: kube-proxy writes its lists with each sync.
#[test]
fn chains_in_tables_of_nf_tables_are_followed_even_if_the_same_is_written_again() {
    let write = || load_iptables(Xtables::Nft);
    isolated(|| assert_followed(Part::Iptables, write, write));
}

#[test]
fn chains_in_legacy_tables_are_followed() {
    let write = |services: &[Service]| {
        for family in IpFamily::ALL {
            Xtables::Legacy.restore(family, &iptables::ruleset(family, services)).unwrap();
        }
    };
    isolated(|| assert_followed(Part::Iptables, || write(&services()), || write(&more_services())));
}

#[test]
fn chains_of_the_ipvs_mode_are_told_from_those_of_the_iptables_mode_in_tables_of_both_kinds() {
    isolated(|| {
        load_ipvs(Xtables::Nft);
        let found = look(&mut ForeignWatch::default());
        assert_eq!(parts(&found), of_both_families(Part::Ipvs));
        for family in IpFamily::ALL {
            Xtables::Legacy.restore(family, &ipvs::ruleset(family)).unwrap();
        }
        let of_both_kinds = look(&mut ForeignWatch::default());
        assert_eq!(parts(&of_both_kinds), of_both_families(Part::Ipvs), "both count as one");
        assert_ne!(of_both_kinds, found);
    });
}

#[test]
fn looking_into_legacy_tables_takes_no_program() {
    isolated(|| {
        load_iptables(Xtables::Legacy);
        let found = look(&mut ForeignWatch::default());
        assert_eq!(found.len(), 2);
        replace(LEGACY, "exit 1");
        assert_eq!(look(&mut ForeignWatch::default()), found);
        Program::new("umount").args([LEGACY]).run().unwrap();
    });
}

/// Our mode and kube-proxy's go by the same names: what is in tables of the other kind is another's, and so are chains
/// that our mode has not.
#[test]
fn beside_a_mode_of_ours_only_what_it_has_not_is_another_proxys() {
    isolated(|| {
        let mut watch = ForeignWatch::default();
        let mut beside =
            |own, variant| parts(&watch.look(&IpFamily::ALL, Some(own), |_| Some(variant)).unwrap());
        load_iptables(Xtables::Nft);
        assert_eq!(beside(Part::Iptables, Variant::Nft), []);
        assert_eq!(beside(Part::Iptables, Variant::Legacy), of_both_families(Part::Iptables));
        assert_eq!(beside(Part::Ipvs, Variant::Nft), of_both_families(Part::Iptables));
        load_ipvs(Xtables::Nft);
        assert_eq!(beside(Part::Iptables, Variant::Nft), of_both_families(Part::Ipvs));
        assert_eq!(
            beside(Part::Ipvs, Variant::Nft),
            of_both_families(Part::Ipvs),
            "kube-proxy's ipvs mode has more"
        );
    });
}

/// Looking must neither make tables nor load modules.
#[test]
fn looking_leaves_an_empty_network_empty() {
    isolated(|| {
        assert_eq!(look(&mut ForeignWatch::default()), []);
        for file in ["ip_tables_names", "ip6_tables_names"] {
            assert_eq!(fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap(), "");
        }
        assert_eq!(crate::state::ruleset(), "");
    });
}

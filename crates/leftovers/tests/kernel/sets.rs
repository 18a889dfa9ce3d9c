//! Address sets, which go after the rules that use them.

use portolan_core::IpFamily;
use portolan_leftovers::{Part, remove};
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::upstream::{Xtables, ipvs};

use crate::state::{count, load_ipvs, removed, saved, services, set_names};

fn everything_of_the_mode_goes(kind: Xtables) {
    Program::new("ipset").args(["create", "KUBE-FOREIGN", "hash:ip"]).run().unwrap();
    Program::new("ipset").args(["create", "cali40s", "hash:net"]).run().unwrap();
    load_ipvs(kind);

    let (removed_now, kept) = removed(&[Part::Iptables, Part::Ipvs]);

    // Chains, rules that lead into them, and sets, of both families.
    assert_eq!((removed_now, kept), (2 * (11 + 9 + 17), Vec::new()));
    assert_eq!(set_names(), ["KUBE-FOREIGN", "cali40s"]);
    assert!(!saved(kind).contains("KUBE-"), "{}", saved(kind));
    assert_eq!(removed(&Part::ALL), (0, Vec::new()));
}

#[test]
fn sets_and_chains_in_nf_tables_go() {
    isolated(|| everything_of_the_mode_goes(Xtables::Nft));
}

#[test]
fn sets_and_chains_in_legacy_tables_go() {
    isolated(|| everything_of_the_mode_goes(Xtables::Legacy));
}

#[test]
fn a_set_that_somebody_elses_rule_uses_stays_and_is_reported() {
    isolated(|| {
        load_ipvs(Xtables::Legacy);
        let rule = "*filter\n-A INPUT -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT\nCOMMIT\n";
        Xtables::Legacy.restore(IpFamily::V4, rule).unwrap();

        let (removed_now, kept) = removed(&[Part::Iptables, Part::Ipvs]);

        assert_eq!(removed_now, 2 * (11 + 9 + 17) - 1);
        assert_eq!(kept, ["address set KUBE-CLUSTER-IP: rules or other sets still use it"]);
        assert_eq!(set_names(), ["KUBE-CLUSTER-IP"]);
    });
}

#[test]
fn only_the_family_that_is_asked_for_loses_its_sets() {
    isolated(|| {
        for family in IpFamily::ALL {
            ipvs::load_sets(family, &services()).unwrap();
        }
        assert_eq!(count(&remove(&[Part::Ipvs], &[IpFamily::V4])), 17);
        assert_eq!(set_names().len(), 17);
        assert!(set_names().iter().all(|name| name.starts_with("KUBE-6-")), "{:?}", set_names());
    });
}

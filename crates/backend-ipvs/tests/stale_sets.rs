//! Address sets, which are removed after the rules that use them. Any kernel has them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::Duration;

use portolan_backend_ipvs::stale::{Connections, remove, remove_servers};
use portolan_core::IpFamily;
use portolan_core::backend::{CleanupReport, error_chain};
use portolan_iptables::programs::ProgramError;
use portolan_iptables::stale::StaleError;
use portolan_testkit::netns::{Namespace, Program, isolated, wait_until};
use portolan_testkit::upstream::{Service, Xtables, iptables, ipvs};

/// Services of both families.
fn services() -> [Service; 2] {
    [
        Service::new("default/web", "10.96.0.10:80").node_port(30080).endpoint("10.244.0.11:8080"),
        Service::new("default/web", "[fd00:10:96::10]:80").endpoint("[fd00:10:244::11]:8080"),
    ]
}

/// Loads the ipvs mode's sets and chains.
fn load_ipvs(kind: Xtables) {
    for family in IpFamily::ALL {
        ipvs::load_sets(family, &services()).unwrap();
        kind.restore(family, &ipvs::ruleset(family)).unwrap();
    }
}

/// All rules of both families.
fn saved(kind: Xtables) -> String {
    IpFamily::ALL.map(|family| kind.save(family).unwrap()).concat()
}

/// The names of all address sets, in their order.
fn set_names() -> Vec<String> {
    let list = Program::new("ipset").args(["list", "-name"]).run().unwrap();
    list.lines().map(str::to_owned).collect()
}

/// Removes all of both families, as a cleanup does.
fn remove_all() -> CleanupReport {
    let mut report = CleanupReport::default();
    for family in IpFamily::ALL {
        report.merge(remove(None, family));
    }
    report
}

/// The same, and gives how many objects were removed and what was kept.
fn removed() -> (usize, Vec<String>) {
    let report = remove_all();
    let errors: Vec<_> = report.failures.iter().map(|failure| error_chain(&*failure.error)).collect();
    assert_eq!(errors, [""; 0]);
    (report.removed, report.kept)
}

fn everything_of_the_mode_goes(kind: Xtables) {
    Program::new("ipset").args(["create", "KUBE-FOREIGN", "hash:ip"]).run().unwrap();
    Program::new("ipset").args(["create", "cali40s", "hash:net"]).run().unwrap();
    load_ipvs(kind);

    let (removed_now, kept) = removed();

    // Chains, rules that lead into them, and sets, of both families.
    assert_eq!((removed_now, kept), (2 * (11 + 9 + 17), Vec::new()));
    assert_eq!(set_names(), ["KUBE-FOREIGN", "cali40s"]);
    assert!(!saved(kind).contains("KUBE-"), "{}", saved(kind));
    assert_eq!(removed(), (0, Vec::new()));
}

#[test]
fn sets_and_chains_in_nf_tables_are_removed() {
    isolated(|| everything_of_the_mode_goes(Xtables::Nft));
}

#[test]
fn sets_and_chains_in_legacy_tables_are_removed() {
    isolated(|| everything_of_the_mode_goes(Xtables::Legacy));
}

#[test]
fn a_set_used_by_a_rule_of_another_program_is_kept_and_reported() {
    isolated(|| {
        load_ipvs(Xtables::Legacy);
        let rule = "*filter\n-A INPUT -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT\nCOMMIT\n";
        Xtables::Legacy.restore(IpFamily::V4, rule).unwrap();

        let (removed_now, kept) = removed();

        assert_eq!(removed_now, 2 * (11 + 9 + 17) - 1);
        assert_eq!(kept, ["address set KUBE-CLUSTER-IP: rules or other sets still use it"]);
        assert_eq!(set_names(), ["KUBE-CLUSTER-IP"]);
    });
}

#[test]
fn only_sets_of_the_given_family_are_removed() {
    isolated(|| {
        for family in IpFamily::ALL {
            ipvs::load_sets(family, &services()).unwrap();
        }
        assert_eq!(remove_servers(Connections::Ended, IpFamily::V4).removed, 17);
        assert_eq!(set_names().len(), 17);
        assert!(set_names().iter().all(|name| name.starts_with("KUBE-6-")), "{:?}", set_names());
    });
}

#[test]
fn a_lock_that_is_never_released_is_an_error_after_a_limited_time() {
    isolated(|| {
        load_ipvs(Xtables::Nft);
        for family in IpFamily::ALL {
            Xtables::Legacy.restore(family, &iptables::ruleset(family, &services())).unwrap();
        }
        let here = Namespace::create("unused").unwrap();
        let holder = here
            .spawn_program(&Program::new("flock").args([
                "/run/xtables.lock",
                "sh",
                "-c",
                "touch /run/held; sleep 60",
            ]))
            .unwrap();
        wait_until("the lock is held", Duration::from_secs(60), || fs::exists("/run/held").unwrap()).unwrap();

        let failures = remove_all().failures;

        let is_locked =
            |error: &StaleError| matches!(error, StaleError::Program(ProgramError::Locked { .. }));
        assert!(
            failures.iter().all(|failure| failure.error.downcast_ref().is_some_and(is_locked)),
            "{failures:?}"
        );
        assert_eq!(failures.len(), 2);
        assert!(!saved(Xtables::Nft).contains("KUBE-SERVICES"));
        assert_eq!(set_names(), Vec::<String>::new());
        drop(holder);
    });
}

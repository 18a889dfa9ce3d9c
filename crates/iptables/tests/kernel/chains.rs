//! Chains, in the tables of both variants of iptables.

use portolan_core::IpFamily;
use portolan_iptables::programs::Variant;
use portolan_iptables::stale::{self, Mode};
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::upstream::{Xtables, iptables};

use crate::state::{BOTH, load_foreign, load_iptables, load_ipvs, remove, removed, ruleset, saved, services};

/// Chains and rules of others' chains: twelve of each in either family; and those of the Service, which has
/// a node port and two endpoints over IPv4, and one endpoint over IPv6.
const IPTABLES: usize = 2 * (12 + 12) + (2 + 2) + (1 + 1);

fn goes_and_nothing_else(kind: Xtables) {
    load_foreign(kind);
    let before = (saved(kind), ruleset());
    load_iptables_only(kind);
    assert_ne!(saved(kind), before.0);

    assert_eq!(removed(&[Mode::Iptables]), (IPTABLES, Vec::new()));

    assert_eq!((saved(kind), ruleset()), before);
    assert_eq!(removed(BOTH), (0, Vec::new()));
    assert_eq!((saved(kind), ruleset()), before);
}

fn load_iptables_only(kind: Xtables) {
    for family in IpFamily::ALL {
        kind.restore(family, &iptables::ruleset(family, &services())).unwrap();
    }
}

#[test]
fn stale_chains_in_nf_tables_are_removed_and_others_keep_every_byte_and_counter() {
    isolated(|| goes_and_nothing_else(Xtables::Nft));
}

#[test]
fn stale_chains_in_legacy_tables_are_removed_and_others_keep_every_byte_and_counter() {
    isolated(|| goes_and_nothing_else(Xtables::Legacy));
}

#[test]
fn the_same_chains_in_tables_of_both_variants_are_removed_together() {
    isolated(|| {
        for kind in Xtables::ALL {
            load_iptables(kind);
        }
        assert_eq!(removed(&[Mode::Iptables]), (2 * IPTABLES, Vec::new()));
        for kind in Xtables::ALL {
            let left = saved(kind);
            assert!(left.contains("-A INPUT -j KUBE-FIREWALL\n"), "{left}");
            let names = left.lines().filter_map(|line| line.strip_prefix(":KUBE-"));
            let others = ["FIREWALL ", "KUBELET-CANARY ", "IPTABLES-HINT "];
            assert!(names.clone().all(|name| others.iter().any(|other| name.starts_with(other))), "{left}");
            assert_eq!(names.count(), 2 * 5);
        }
    });
}

/// A mode that writes tables of one variant removes what is in those of the other.
fn go_and_those_of_the_other_variant_stay(variant: Variant, gone: Xtables, stays: Xtables) {
    load_foreign(gone);
    let before = saved(gone);
    load_iptables_only(gone);
    load_iptables(stays);
    let others = saved(stays);
    assert_eq!(remove(BOTH, Some((Mode::Iptables, variant.other()))).removed, IPTABLES);
    assert_eq!((saved(gone), saved(stays)), (before, others));
}

/// Both modes have been in the tables of one kind; the one that stays has what it shares with the other.
fn what_only_the_other_mode_has_goes(kind: Xtables, variant: Variant) {
    const SHARED: [&str; 4] = ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-FORWARD", "KUBE-PROXY-FIREWALL"];
    let has = |chain: &str| saved(kind).contains(&format!(":{chain} "));
    let assert_gone = |names: &[&str]| {
        let left = saved(kind).replace("KUBE-KUBELET-CANARY", "");
        for name in names {
            assert!(!left.contains(name), "{name}\n{left}");
        }
    };
    load_foreign(kind);
    load_iptables(kind);
    load_ipvs(kind);
    assert!(saved(kind).contains("KUBE-SEP-") && has("KUBE-NODE-PORT"));
    assert!(remove(BOTH, Some((Mode::Ipvs, variant))).removed > 0);
    assert!(SHARED.iter().all(|chain| has(chain)) && has("KUBE-NODE-PORT") && has("KUBE-IPVS-FILTER"));
    assert_gone(&["KUBE-SEP-", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "CANARY", "KUBE-IPVS-OUT-FILTER"]);

    load_iptables(kind);
    assert!(remove(BOTH, Some((Mode::Iptables, variant))).removed > 0);
    assert!(
        SHARED.iter().all(|chain| has(chain)) && saved(kind).contains("KUBE-SEP-") && has("KUBE-NODEPORTS")
    );
    assert_gone(&["KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-IPVS-FILTER", "KUBE-SOURCE-RANGES"]);
}

#[test]
fn chains_of_a_running_mode_are_kept_in_nf_tables() {
    isolated(|| what_only_the_other_mode_has_goes(Xtables::Nft, Variant::Nft));
}

#[test]
fn chains_of_a_running_mode_are_kept_in_legacy_tables() {
    isolated(|| what_only_the_other_mode_has_goes(Xtables::Legacy, Variant::Legacy));
}

#[test]
fn removal_from_nf_tables_keeps_every_byte_of_legacy_tables() {
    isolated(|| go_and_those_of_the_other_variant_stay(Variant::Nft, Xtables::Nft, Xtables::Legacy));
}

#[test]
fn removal_from_legacy_tables_keeps_every_byte_of_nf_tables() {
    isolated(|| go_and_those_of_the_other_variant_stay(Variant::Legacy, Xtables::Legacy, Xtables::Nft));
}

#[test]
fn only_chains_of_the_given_family_are_removed() {
    isolated(|| {
        load_iptables(Xtables::Nft);
        load_iptables(Xtables::Legacy);
        let v4 = || Xtables::ALL.map(|kind| kind.save(IpFamily::V4).unwrap());
        let before = v4();
        assert_eq!(stale::remove(&[Mode::Iptables], None, IpFamily::V6).removed, 2 * (12 + 12 + 2));
        assert_eq!(v4(), before);
    });
}

/// Port mappings of another program that use kube-proxy's mark, as portmap does if told so.
const BORROWED: &str = r"*nat
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-DN-1 - [0:0]
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 8080 -j CNI-DN-1
-A CNI-DN-1 -s 10.244.0.0/16 -j KUBE-MARK-MASQ
COMMIT
";

fn a_borrowed_mark_stays(kind: Xtables, table: &str) {
    load_iptables_only(kind);
    kind.restore(IpFamily::V4, BORROWED).unwrap();

    let (removed_now, kept) = removed(&[Mode::Iptables]);

    // Two chains stay, and the way into one of them.
    assert_eq!(removed_now, IPTABLES - 3);
    let wanted = [
        format!("chain KUBE-MARK-MASQ of {table}: a rule of chain CNI-DN-1 leads to it"),
        format!(
            "chain KUBE-POSTROUTING of {table}: chain KUBE-MARK-MASQ, which stays, is of no use without it"
        ),
    ];
    assert_eq!(kept, wanted);
    let left = kind.save(IpFamily::V4).unwrap();
    for rule in [
        "-A CNI-DN-1 -s 10.244.0.0/16 -j KUBE-MARK-MASQ",
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING",
        "-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE",
    ] {
        assert!(left.contains(rule), "no {rule} in\n{left}");
    }
    assert!(!left.contains("KUBE-SERVICES"), "{left}");
    // The next run finds it the same way.
    assert_eq!(removed(&[Mode::Iptables]), (0, kept));
    assert_eq!(kind.save(IpFamily::V4).unwrap(), left);
}

#[test]
fn a_mark_chain_used_by_others_is_kept_with_masquerading_in_nf_tables() {
    isolated(|| a_borrowed_mark_stays(Xtables::Nft, "table ip nat"));
}

#[test]
fn a_mark_chain_used_by_others_is_kept_with_masquerading_in_legacy_tables() {
    isolated(|| a_borrowed_mark_stays(Xtables::Legacy, "legacy table nat of IPv4"));
}

#[test]
fn jumps_are_removed_with_any_comment_and_at_any_position() {
    isolated(|| {
        for kind in Xtables::ALL {
            load_foreign(kind);
            let before = kind.save(IpFamily::V4).unwrap();
            let jumps = r#"*nat
:KUBE-SERVICES - [0:0]
-A OUTPUT -j KUBE-SERVICES
-A OUTPUT -m comment --comment "of \"an\" older \\ version; -j ACCEPT" -j KUBE-SERVICES
-I PREROUTING 1 -d 10.96.0.0/12 -p udp -m comment --comment 'x' -g KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
COMMIT
"#;
            kind.restore(IpFamily::V4, jumps).unwrap();
            assert_eq!(removed(&[Mode::Iptables]), (5, Vec::new()));
            assert_eq!(kind.save(IpFamily::V4).unwrap(), before);
        }
    });
}

/// An element of a map is no rule, and only the kernel tells of it.
#[test]
fn a_chain_that_a_map_jumps_to_is_kept_and_the_others_removed() {
    isolated(|| {
        load_iptables_only(Xtables::Nft);
        let map = "add map ip nat m { type inet_service : verdict; }\n\
                   add element ip nat m { 80 : jump KUBE-MARK-MASQ }\n";
        Program::new("nft").args(["-f", "-"]).input(map).run().unwrap();

        let (removed_now, kept) = removed(&[Mode::Iptables]);

        assert_eq!(removed_now, IPTABLES - 3);
        assert!(
            kept[0].ends_with("KUBE-MARK-MASQ of table ip nat: something else than a rule leads to it"),
            "{kept:?}"
        );
        assert!(ruleset().contains("jump KUBE-MARK-MASQ"), "{}", ruleset());
    });
}

#[test]
fn removing_chains_of_the_ipvs_mode_keeps_chains_of_both_modes() {
    isolated(|| {
        load_ipvs(Xtables::Nft);
        let (_, kept) = removed(&[Mode::Ipvs]);
        let left = saved(Xtables::Nft);
        assert!(left.contains("-j KUBE-SERVICES") && !left.contains("KUBE-IPVS-FILTER"), "{left}");
        // Called by chains that stay.
        assert!(left.contains(":KUBE-LOAD-BALANCER "), "{left}");
        assert!(kept.iter().any(|kept| kept.contains("KUBE-LOAD-BALANCER of table ip nat")), "{kept:?}");
    });
}

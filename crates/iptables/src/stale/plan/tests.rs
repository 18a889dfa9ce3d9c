//! What is removed and what stays, of tables in a few words.

use super::*;
use crate::stale::Mode;

const ALL: StaleChains<'_> = StaleChains { modes: &[Mode::Iptables, Mode::Ipvs], beside: None };

/// A table from lines like `POSTROUTING* KUBE-POSTROUTING FOREIGN`: a chain, built in if starred, and where its
/// rules lead. A rule's identity is `chain>target`.
fn table(lines: &[&str]) -> Table<String> {
    let chain = |line: &&str| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let is_built_in = name.ends_with('*');
        let name = name.trim_end_matches('*');
        let call = |to: &str| (format!("{name}>{to}"), to.to_owned());
        Chain { jumps: words.map(call).collect(), ..Chain::new(name, is_built_in) }
    };
    Table::new("nat", lines.iter().map(chain))
}

fn planned(lines: &[&str]) -> Removal<String> {
    plan(&table(lines), ALL, &BTreeSet::new())
}

fn rules(removal: &Removal<String>) -> Vec<&str> {
    removal.jumps.iter().map(|(_, rule)| rule.as_str()).collect()
}

#[test]
fn chains_are_removed_with_the_jumps_to_them_and_nothing_else_is() {
    let removal = planned(&[
        "PREROUTING* KUBE-SERVICES FOREIGN",
        "POSTROUTING* FOREIGN KUBE-POSTROUTING",
        "FOREIGN",
        "KUBE-SERVICES KUBE-SVC-A",
        "KUBE-SVC-A KUBE-MARK-MASQ KUBE-SEP-A",
        "KUBE-SEP-A KUBE-MARK-MASQ",
        "KUBE-MARK-MASQ",
        "KUBE-POSTROUTING",
        "KUBE-KUBELET-CANARY",
    ]);
    assert_eq!(rules(&removal), ["PREROUTING>KUBE-SERVICES", "POSTROUTING>KUBE-POSTROUTING"]);
    let gone = ["KUBE-SERVICES", "KUBE-SVC-A", "KUBE-SEP-A", "KUBE-MARK-MASQ", "KUBE-POSTROUTING"];
    assert_eq!(removal.chains, gone);
    assert_eq!(removal.kept, BTreeMap::new());
    let mut report = CleanupReport::default();
    removal.report("table ip nat", &mut report);
    assert_eq!((report.removed, report.kept), (7, Vec::new()));
}

#[test]
fn a_mark_chain_used_by_others_is_kept_with_masquerading_and_its_jump() {
    let removal = planned(&[
        "PREROUTING* KUBE-SERVICES",
        "POSTROUTING* KUBE-POSTROUTING",
        "CNI-HOSTPORT-SETMARK KUBE-MARK-MASQ",
        "KUBE-SERVICES KUBE-MARK-MASQ",
        "KUBE-MARK-MASQ",
        "KUBE-POSTROUTING",
    ]);
    assert_eq!(rules(&removal), ["PREROUTING>KUBE-SERVICES"]);
    assert_eq!(removal.chains, ["KUBE-SERVICES"]);
    assert_eq!(removal.kept["KUBE-MARK-MASQ"], "a rule of chain CNI-HOSTPORT-SETMARK leads to it");
    assert_eq!(
        removal.kept["KUBE-POSTROUTING"],
        "chain KUBE-MARK-MASQ, which stays, is of no use without it"
    );
}

#[test]
fn a_jump_that_kube_proxy_does_not_write_keeps_its_chain() {
    let removal = planned(&["OUTPUT* KUBE-MARK-MASQ", "KUBE-MARK-MASQ"]);
    assert!(removal.is_empty());
    assert_eq!(removal.kept["KUBE-MARK-MASQ"], "a rule of chain OUTPUT leads to it");
}

#[test]
fn chains_reachable_from_a_kept_chain_are_kept_also_in_loops() {
    let removal = planned(&[
        "OUTPUT* KUBE-SERVICES",
        "FOREIGN KUBE-SVC-A",
        "KUBE-SERVICES KUBE-SVC-A KUBE-SVC-B",
        "KUBE-SVC-A KUBE-SEP-A",
        "KUBE-SEP-A KUBE-FW-A",
        "KUBE-FW-A KUBE-SVC-A",
        "KUBE-SVC-B KUBE-SEP-B",
        "KUBE-SEP-B",
    ]);
    assert_eq!(removal.chains, ["KUBE-SERVICES", "KUBE-SVC-B", "KUBE-SEP-B"]);
    assert_eq!(removal.kept["KUBE-FW-A"], "chain KUBE-SEP-A, which stays, leads to it");
}

#[test]
fn a_busy_chain_is_kept_with_the_chains_it_jumps_to() {
    let table = table(&["KUBE-SVC-A KUBE-SEP-A", "KUBE-SEP-A", "KUBE-SEP-B"]);
    let removal = plan(&table, ALL, &BTreeSet::from(["KUBE-SVC-A".to_owned(), "GONE".to_owned()]));
    assert_eq!(removal.chains, ["KUBE-SEP-B"]);
    assert_eq!(removal.kept["KUBE-SVC-A"], "something else than a rule leads to it");
    assert_eq!(removal.kept.len(), 2);
}

#[test]
fn an_empty_table_has_nothing_to_remove() {
    assert!(planned(&["PREROUTING* FOREIGN", "FOREIGN"]).is_empty());
}

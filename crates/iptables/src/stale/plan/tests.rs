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
        Chain { calls: words.map(call).collect(), ..Chain::new(name, is_built_in) }
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
fn chains_go_with_the_rules_that_lead_into_them_and_nothing_else_does() {
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
fn a_mark_that_others_set_stays_with_what_acts_on_it_and_with_the_way_there() {
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
fn a_rule_of_a_built_in_chain_that_kube_proxy_would_not_write_keeps_its_chain() {
    let removal = planned(&["OUTPUT* KUBE-MARK-MASQ", "KUBE-MARK-MASQ"]);
    assert!(removal.is_empty());
    assert_eq!(removal.kept["KUBE-MARK-MASQ"], "a rule of chain OUTPUT leads to it");
}

#[test]
fn what_a_kept_chain_leads_to_stays_however_far_and_in_a_circle() {
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
fn a_chain_that_the_kernel_calls_busy_stays_with_what_it_leads_to() {
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

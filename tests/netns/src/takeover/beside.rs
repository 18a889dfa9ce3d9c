//! A kube-proxy that runs beside the proxy, by mistake or during a rollout, and is stopped then.

use portolan_core::IpFamily;
use portolan_testkit::netns::{Namespace, Portolan, Program, isolated, wait_until};
use portolan_testkit::upstream::Xtables;

use super::{Old, stage};
use crate::modes::Mode;
use crate::stage::PATIENCE;

/// Short, so that what is looked at each time is seen soon.
const SYNC_PERIOD: &str = "--iptables-sync-period=1s";
/// Longer than any test.
const NO_SYNC_PERIOD: &str = "--iptables-sync-period=1h";

fn foreign(proxy: &Portolan, mode: &str) -> [Option<f64>; 2] {
    IpFamily::ALL.map(|family| {
        let series = format!("portolan_foreign_proxy_rules{{ip_family=\"{family}\",of=\"{mode}\"}}");
        proxy.metric(&series).ok().flatten()
    })
}

/// Whether the rules of another proxy are there.
fn has_rules(node: &Namespace, old: Old) -> bool {
    let run = |program: &str, arguments: &[&str]| {
        node.run_program(&Program::new(program).args(arguments.iter().copied())).unwrap()
    };
    match old {
        Old::Nftables => run("nft", &["list", "tables"]).contains("kube-proxy"),
        Old::Iptables(kind) | Old::Ipvs(kind) => {
            let save = if kind == Xtables::Nft { "iptables-nft-save" } else { "iptables-legacy-save" };
            run(save, &[]).contains("KUBE-SERVICES")
        }
    }
}

/// It writes its rules whenever they are gone or something has changed, and then ends.
fn another_proxy_is_told_and_its_rules_go_when_it_writes_no_more(mode: Mode, old: Old, called: &str) {
    let stage = stage(mode);
    let node = stage.net.node();
    let mut proxy = stage.start(&[&mode.flag(), SYNC_PERIOD]);
    proxy.wait_synced(PATIENCE).unwrap();
    let traffic = stage.probe_web();
    wait_until("an Event and a metric report it", PATIENCE, || {
        // What is removed while it is written may fail. It is written again.
        let _ = old.try_load(node);
        !stage.events("ForeignProxyRules").is_empty() && foreign(&proxy, called).contains(&Some(1.0))
    })
    .unwrap();
    let event = stage.events("ForeignProxyRules").pop().unwrap();
    assert_eq!(
        (event["type"].as_str(), event["regarding"]["kind"].as_str()),
        (Some("Warning"), Some("Node"))
    );
    assert!(proxy.log().unwrap().contains("Another proxy writes rules on this node"));

    let is_alone = |proxy: &Portolan| !has_rules(node, old) && !foreign(proxy, called).contains(&Some(1.0));
    proxy.wait_until("what it does not update any more is gone", PATIENCE, is_alone).unwrap();
    assert!(mode.has_rules(node));
    // Both pods are behind the Service, of which the other proxy's rules knew one.
    traffic.wait_for_pod("pod2");
    traffic.wait_for_attempts(50);
    traffic.assert_nothing_lost();
}

#[test]
fn running_kube_proxy_in_iptables_mode_is_reported_and_its_rules_are_removed_by_nftables_mode() {
    let old = Old::Iptables(Xtables::Nft);
    isolated(|| {
        another_proxy_is_told_and_its_rules_go_when_it_writes_no_more(Mode::Nftables, old, "iptables");
    });
}

#[test]
fn running_kube_proxy_with_legacy_tables_is_reported_and_its_rules_are_removed_by_nftables_mode() {
    let old = Old::Iptables(Xtables::Legacy);
    isolated(|| {
        another_proxy_is_told_and_its_rules_go_when_it_writes_no_more(Mode::Nftables, old, "iptables");
    });
}

#[test]
fn running_kube_proxy_in_nftables_mode_is_reported_and_its_rules_are_removed_by_iptables_mode() {
    let old = Old::Nftables;
    isolated(|| {
        another_proxy_is_told_and_its_rules_go_when_it_writes_no_more(Mode::Iptables, old, "nftables");
    });
}

/// Kube-proxy writes the same chains: all that shows it is that they have to be repaired again and again.
#[test]
fn another_writer_of_the_same_chains_is_reported_by_iptables_mode() {
    isolated(|| {
        let stage = stage(Mode::Iptables);
        let node = stage.net.node();
        let mut proxy = stage.start(&[&Mode::Iptables.flag(), SYNC_PERIOD]);
        proxy.wait_synced(PATIENCE).unwrap();
        let before = Mode::Iptables.listed(node);
        let flush = Program::new("iptables").args(["-t", "nat", "-F", "KUBE-SERVICES"]);
        wait_until("an Event and a metric report it", PATIENCE, || {
            node.run_program(&flush).unwrap();
            !stage.events("ForeignProxyRules").is_empty() && foreign(&proxy, "iptables")[0] == Some(1.0)
        })
        .unwrap();
        let is_repaired = |_: &Portolan| Mode::Iptables.listed(node) == before;
        proxy.wait_until("the last damage is repaired, too", PATIENCE, is_repaired).unwrap();
    });
}

/// Nothing is looked at within the time of this test except for what the kernel reports.
#[test]
fn rules_and_jumps_of_the_iptables_mode_that_others_remove_are_back_long_before_the_sync_period() {
    isolated(|| {
        let stage = stage(Mode::Iptables);
        let node = stage.net.node();
        let mut proxy = stage.start(&[&Mode::Iptables.flag(), NO_SYNC_PERIOD]);
        proxy.wait_synced(PATIENCE).unwrap();
        let before = Mode::Iptables.listed(node);
        for damage in ["iptables -t nat -F", "ip6tables -t nat -D PREROUTING 1", "iptables -F FORWARD"] {
            let mut words = damage.split(' ');
            let program = Program::new(words.next().unwrap()).args(words);
            node.run_program(&program).unwrap();
            let is_repaired = |_: &Portolan| Mode::Iptables.listed(node) == before;
            proxy.wait_until(damage, PATIENCE, is_repaired).unwrap();
        }
    });
}

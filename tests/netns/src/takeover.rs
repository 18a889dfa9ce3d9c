//! Taking over a node that kube-proxy has been serving, in each of its modes, and giving it back.
//!
//! In the old state only the first of two endpoints serves, and a Service is still there that the cluster
//! has no more: what answers tells which rules a connection went by. That kube-proxy itself is gone makes no
//! difference to the kernel; its rules stay when it ends.
//!
//! This kernel may have no IPVS. Then nothing serves before the proxy does, so what is shown for that mode is
//! that removing its sets and chains takes nothing from the traffic that the proxy serves by then.

mod beside;
mod foreign;

use std::io::ErrorKind;

use portolan_core::IpFamily;
use portolan_testkit::netns::{
    LongConnection, Namespace, NetnsError, Portolan, Program, isolated, list_ruleset, load_ruleset,
    wait_until,
};
use portolan_testkit::shop::{NODE_PORT, PORT};
use portolan_testkit::upstream::{self, Service, Xtables, ipvs};

use crate::modes::{Mode, in_each_mode};
use crate::stage::{PATIENCE, Stage, Traffic, WEB, exit_code, plain_service, socket};

/// Has endpoints by now, of which the old rules know nothing.
const LATE: &str = "10.96.0.91";
/// Was deleted while no proxy ran.
const GONE: &str = "10.96.0.92";

/// What the old rules serve.
fn old_services() -> [Service; 4] {
    let web = |vip| Service::new("shop/web", vip).port_name("http").node_port(NODE_PORT);
    [
        web("10.96.0.80:80").endpoint("10.244.0.11:8080"),
        web("[fd00:10:96::80]:80").endpoint("[fd00:10:244::11]:8080"),
        Service::new("shop/late", "10.96.0.91:80").port_name("http"),
        Service::new("shop/gone", "10.96.0.92:80").port_name("http").endpoint("10.244.0.11:8080"),
    ]
}

/// A way to have kept rules.
#[derive(Clone, Copy)]
enum Old {
    Nftables,
    Iptables(Xtables),
    Ipvs(Xtables),
}

impl Old {
    /// Writes what the mode left.
    fn load(self, node: &Namespace) {
        self.try_load(node).unwrap();
    }

    /// The same while another program may remove it.
    fn try_load(self, node: &Namespace) -> Result<(), NetnsError> {
        let services = old_services();
        let load = |family| match self {
            Self::Nftables => load_ruleset(node, &upstream::nftables::ruleset(family, &services)),
            Self::Iptables(kind) => kind.restore(family, &upstream::iptables::ruleset(family, &services)),
            Self::Ipvs(kind) => {
                ipvs::load_sets(family, &services)?;
                kind.restore(family, &ipvs::ruleset(family))
            }
        };
        node.run(|| IpFamily::ALL.into_iter().try_for_each(load))?
    }

    fn xtables(self) -> &'static [Xtables] {
        match self {
            Self::Nftables => &[],
            Self::Iptables(Xtables::Nft) | Self::Ipvs(Xtables::Nft) => &[Xtables::Nft],
            Self::Iptables(Xtables::Legacy) | Self::Ipvs(Xtables::Legacy) => &[Xtables::Legacy],
        }
    }
}

/// Only these pods have answered, and all attempts were answered.
#[track_caller]
fn assert_answered_by(traffic: &Traffic, pod: &str) {
    for (what, report) in traffic.so_far() {
        let tally = &report.tally;
        assert!(tally.attempts() >= 50 && tally.answers_of(pod) == tally.attempts(), "{what}: {tally}");
    }
}

/// The cluster of today: two pods for the Service `web`, one for `late`, and no `gone`.
fn stage(mode: Mode) -> Stage {
    let stage = Stage::in_mode(mode, 2);
    stage.serve_web_by(&[1, 2]);
    stage.api.apply_all([plain_service("late", LATE), stage.slice("late", 0, &[2])]);
    stage
}

fn take_over(old: Old, mode: Mode) {
    let stage = stage(mode);
    let node = stage.net.node();
    foreign::load(node, old.xtables());
    let before = foreign::all(node, old.xtables(), mode);
    old.load(node);
    let traffic = stage.probe_web();
    let lasting = WEB.map(|ip| LongConnection::open(&stage.client(), socket(ip, PORT)).unwrap());
    traffic.wait_for_attempts(50);
    assert_answered_by(&traffic, "pod1");
    assert_eq!(stage.client().connect_tcp(socket(GONE, PORT)).unwrap().pod, "pod1");
    let refused = stage.client().connect_tcp(socket(LATE, PORT)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let mut proxy = stage.start_synced();
    // The iptables mode goes on with what it finds in its own tables, and there is nothing to remove.
    let is_removed = mode == Mode::Nftables || !matches!(old, Old::Iptables(Xtables::Nft));
    if is_removed {
        foreign::wait_until_alone(node, old.xtables(), mode, &before);
    }
    traffic.wait_for_pod("pod1");
    traffic.wait_for_pod("pod2");
    for connection in lasting {
        connection.wait_for_lines(5, PATIENCE).unwrap();
        assert_eq!(connection.close().broken, None);
    }
    assert_eq!(stage.client().connect_tcp(socket(LATE, PORT)).unwrap().pod, "pod2");
    stage.client().connect_tcp(socket(GONE, PORT)).expect_err("the cluster has it no more");
    traffic.wait_for_attempts(50);
    traffic.assert_nothing_lost();
    let counted = |proxy: &Portolan| {
        let is_told = proxy.log().unwrap().contains("Removed stale rules of a previous proxy");
        is_told == is_removed
    };
    proxy.wait_until("the log names what was removed", PATIENCE, counted).unwrap();
    assert_listed_and_reloaded(node, mode);
}

/// What is listed loads again; rules of the kubelet that the installed nft lists but does not know are left
/// out, as they were there before us.
fn assert_listed_and_reloaded(node: &Namespace, mode: Mode) {
    let listing = list_ruleset(node).unwrap();
    assert!(
        !listing.contains("table ip kube-proxy") && !listing.contains("table ip6 kube-proxy"),
        "{listing}"
    );
    if !listing.contains("xt match") {
        mode.assert_reloads(node);
    }
}

in_each_mode!(
    the_nftables_mode_of_kube_proxy_is_taken_over_without_a_gap,
    the_iptables_mode_in_tables_of_nf_tables_is_taken_over_without_a_gap,
    the_iptables_mode_in_legacy_tables_is_taken_over_without_a_gap,
);

fn the_nftables_mode_of_kube_proxy_is_taken_over_without_a_gap(mode: Mode) {
    take_over(Old::Nftables, mode);
}

fn the_iptables_mode_in_tables_of_nf_tables_is_taken_over_without_a_gap(mode: Mode) {
    take_over(Old::Iptables(Xtables::Nft), mode);
}

fn the_iptables_mode_in_legacy_tables_is_taken_over_without_a_gap(mode: Mode) {
    take_over(Old::Iptables(Xtables::Legacy), mode);
}

/// Rejects untranslated packets, as it is when kube-proxy serves. Otherwise connection tracking would
/// remember such attempts for two minutes, and a later one from the same port would be one of them.
const NOT_YET: &str = "table inet refused {
 chain forward { type filter hook forward priority 20; ip daddr 10.96.0.0/16 reject; ip6 daddr fd00:10:96::/112 reject; }
 chain output { type filter hook output priority 20; ip daddr 10.96.0.0/16 reject; ip6 daddr fd00:10:96::/112 reject; }
}
";

/// As all traffic must be served, it counts from the proxy's first answer on.
fn take_over_from_ipvs(kind: Xtables) {
    let mode = Mode::Nftables;
    let stage = stage(mode);
    let node = stage.net.node();
    let old = Old::Ipvs(kind);
    foreign::load(node, old.xtables());
    load_ruleset(node, NOT_YET).unwrap();
    let before = foreign::all(node, old.xtables(), mode);
    old.load(node);
    let names = || node.run_program(&Program::new("ipset").args(["list", "-name"])).unwrap();
    assert_eq!(names().lines().filter(|name| name.starts_with("KUBE-")).count(), 34, "{}", names());
    let traffic = stage.probe_web();

    let _proxy = stage.start_synced();
    let lost_before = traffic.failures_when_first_answered();
    foreign::wait_until_alone(node, old.xtables(), mode, &before);
    assert_eq!(names(), "bystander\n");
    traffic.wait_for_pod("pod1");
    traffic.wait_for_pod("pod2");
    traffic.wait_for_attempts(50);
    traffic.assert_nothing_lost_since(&lost_before);
    assert_listed_and_reloaded(node, mode);
}

#[test]
fn sets_and_chains_of_the_ipvs_mode_in_tables_of_nf_tables_go_without_a_gap() {
    isolated(|| take_over_from_ipvs(Xtables::Nft));
}

#[test]
fn sets_and_chains_of_the_ipvs_mode_in_legacy_tables_go_without_a_gap() {
    isolated(|| take_over_from_ipvs(Xtables::Legacy));
}

/// A proxy has served and ended, and its rules are there.
fn served_and_ended() -> (Stage, Traffic) {
    let stage = stage(Mode::Nftables);
    let proxy = stage.start_synced();
    let traffic = stage.probe_web();
    traffic.wait_for_pod("pod2");
    assert!(proxy.terminate(PATIENCE).unwrap().success());
    (stage, traffic)
}

fn delete_our_tables(node: &Namespace) {
    for family in ["ip", "ip6"] {
        node.run_program(&Program::new("nft").args(["delete", "table", family, "portolan"])).unwrap();
    }
}

/// kube-proxy starts beside the rules that are left, which are deleted when its own are there.
fn go_back(to: Old) {
    let (stage, traffic) = served_and_ended();
    let node = stage.net.node();
    traffic.wait_for_attempts(50);
    to.load(node);
    traffic.wait_for_attempts(50);
    delete_our_tables(node);
    traffic.wait_for_attempts(10);
    let second = |(what, report): (&'static str, portolan_testkit::netns::ProbeReport)| {
        (what, report.tally.answers_of("pod2"))
    };
    let before: Vec<_> = traffic.so_far().into_iter().map(second).collect();
    traffic.wait_for_attempts(50);
    let after: Vec<_> = traffic.so_far().into_iter().map(second).collect();
    assert_eq!(before, after, "answers of a pod that only our rules know");
    traffic.assert_nothing_lost();
}

#[test]
fn a_node_goes_back_to_the_nftables_mode_of_kube_proxy_without_a_gap() {
    isolated(|| go_back(Old::Nftables));
}

#[test]
fn a_node_goes_back_to_the_iptables_mode_of_kube_proxy_without_a_gap() {
    isolated(|| go_back(Old::Iptables(Xtables::Nft)));
}

/// `--cleanup` needs no API server, and removes what any proxy left, be it ours or kube-proxy's.
#[test]
fn cleanup_leaves_nothing_of_any_proxy_and_all_of_others() {
    isolated(|| {
        let (stage, traffic) = served_and_ended();
        let node = stage.net.node();
        drop(traffic);
        foreign::load(node, &Xtables::ALL);
        let before = foreign::all(node, &Xtables::ALL, Mode::Nftables);
        for old in [Old::Nftables, Old::Ipvs(Xtables::Nft), Old::Iptables(Xtables::Legacy)] {
            old.load(node);
        }
        assert_ne!(foreign::all(node, &Xtables::ALL, Mode::Nftables), before);

        let mut cleanup = Portolan::start(node, ["--cleanup"]).unwrap();
        assert_eq!(exit_code(&mut cleanup), Some(0), "{}", cleanup.log().unwrap());
        assert_eq!(foreign::all(node, &Xtables::ALL, Mode::Nftables), before);
        let listing = list_ruleset(node).unwrap();
        assert!(!listing.contains("portolan"), "{listing}");
        let mut again = Portolan::start(node, ["--cleanup"]).unwrap();
        assert_eq!(exit_code(&mut again), Some(0), "nothing is there to remove: {}", again.log().unwrap());

        Old::Iptables(Xtables::Nft).load(node);
        let client = stage.client();
        assert_eq!(client.connect_tcp(socket(WEB[0], PORT)).unwrap().pod, "pod1", "kube-proxy can go on");
    });
}

/// From one of our own modes to another: the new rules come into force beside the old ones, which then go.
fn change_of_mode(from: Mode, to: Mode) {
    let mut stage = stage(from);
    let old = stage.start_synced();
    let traffic = stage.probe_web();
    traffic.wait_for_pod("pod2");
    assert!(old.terminate(PATIENCE).unwrap().success());
    stage.mode = to;
    let _new = stage.start_synced();
    let node = stage.net.node();
    wait_until("the old mode's rules are gone", PATIENCE, || !from.has_rules(node)).unwrap();
    assert!(to.has_rules(node));
    stage.serve_web_by(&[1]);
    traffic.wait_for_pod("pod1");
    traffic.wait_for_attempts(50);
    traffic.assert_nothing_lost();
}

#[test]
fn a_node_changes_from_iptables_to_nftables_without_a_gap() {
    isolated(|| change_of_mode(Mode::Iptables, Mode::Nftables));
}

#[test]
fn a_node_changes_from_nftables_to_iptables_without_a_gap() {
    isolated(|| change_of_mode(Mode::Nftables, Mode::Iptables));
}

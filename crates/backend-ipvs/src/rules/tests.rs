//! The rules as text, and what the program prints of them.

use std::path::Path;

use portolan_core::plan::NodePortAddresses;
use portolan_testkit::golden::assert_golden;

use super::*;

fn node() -> NodeSettings {
    NodeSettings {
        local_detector: Some(LocalDetector::Cidr("10.244.0.0/16".parse().unwrap())),
        masquerade_all: false,
        masquerade_mark: 0x4000,
        node_port_addresses: NodePortAddresses::All,
        service_cidrs: Vec::new(),
    }
}

#[test]
fn the_rules_are_these() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/rules.txt");
    assert_golden(&file, &input(&tables(IpFamily::V4, &node()), |_, _| false));
}

#[test]
fn strangers_are_told_as_configured() {
    let rule = |change: &dyn Fn(&mut NodeSettings)| {
        let mut node = node();
        change(&mut node);
        let rules = services(IpFamily::V6, &node);
        rules.into_iter().find(|rule| rule.contains("KUBE-6-CLUSTER-IP dst,dst") && rule.contains("MASQ"))
    };
    let begin = "-m set --match-set KUBE-6-CLUSTER-IP dst,dst";
    let with = |middle: &str| Some(format!("{begin}{middle} -j KUBE-MARK-MASQ"));
    assert_eq!(rule(&|_| ()), with(" ! -s 10.244.0.0/16"));
    assert_eq!(rule(&|node| node.masquerade_all = true), with(""));
    assert_eq!(rule(&|node| node.local_detector = None), None);
    let detect = |detector: LocalDetector| rule(&|node| node.local_detector = Some(detector.clone()));
    assert_eq!(detect(LocalDetector::Interface("cni0".into())), with(" ! -i cni0"));
    assert_eq!(detect(LocalDetector::InterfacePrefix("po\nd \"x".into())), with(" ! -i podx+"));
}

#[test]
fn jumps_that_are_there_are_found_and_not_written_again() {
    let tables = tables(IpFamily::V4, &node());
    let mut reader = Written::reader(&tables);
    for line in [
        "*nat",
        ":PREROUTING ACCEPT [3:180]",
        ":KUBE-SERVICES - [0:0]",
        ":DOCKER - [0:0]",
        "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
        "-A PREROUTING -j DOCKER",
        "-A KUBE-SERVICES -j DOCKER",
        "COMMIT",
        "*security",
        "-A INPUT -j KUBE-IPVS-FILTER",
    ] {
        reader.line(line);
    }
    let written = reader.finish();
    let has = |table: &str, from: &str, to: &str| written.has(table, &jump_of(from, to));
    assert!(has("nat", "PREROUTING", "KUBE-SERVICES"));
    assert!(!has("nat", "OUTPUT", "KUBE-SERVICES") && !has("filter", "INPUT", "KUBE-IPVS-FILTER"));
    let input = input(&tables, |table, jump| written.has(table, jump));
    assert!(!input.contains("-I PREROUTING") && input.contains("-I OUTPUT"));
    // Ours are a chain, the rule in it and the way into it.
    let mut other = Written::reader(&tables);
    for line in [
        "*nat",
        ":KUBE-SERVICES - [9:9]",
        "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
    ] {
        other.line(line);
    }
    assert_ne!(other.finish(), written);
}

fn jump_of(from: &str, to: &str) -> Jump {
    let all = NAT_JUMPS.into_iter().chain(FILTER_JUMPS).chain(MANGLE_JUMPS);
    all.into_iter().find(|jump| jump.from == from && jump.to == to).unwrap()
}

//! The rules as text, and what the program prints of them.

use std::path::Path;

use portolan_core::plan::NodePortAddresses;
use portolan_ipvs::Sets;
use portolan_testkit::golden::assert_golden;
use portolan_testkit::netns::isolated;
use portolan_testkit::upstream::Xtables;

use super::*;

fn node() -> NodeSettings {
    NodeSettings {
        local_detector: Some(LocalDetector::Cidr("10.244.0.0/16".parse().unwrap())),
        masquerade_all: false,
        masquerade_mark: 0x4000,
        node_port_addresses: NodePortAddresses::All,
        service_cidrs: Vec::new(),
        api_server: Vec::new(),
    }
}

#[test]
fn rules_equal_the_golden_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/rules.txt");
    assert_golden(&file, &input(&tables(IpFamily::V4, &node()), &Written::default()));
}

#[test]
fn clients_to_masquerade_follow_the_local_detector() {
    let rule = |change: &dyn Fn(&mut NodeSettings)| {
        let mut node = node();
        change(&mut node);
        let rules = services(IpFamily::V6, &node);
        rules.into_iter().find(|rule| rule.contains("KUBE-6-CLUSTER-IP dst,dst") && rule.contains("MASQ"))
    };
    let end = "-m set --match-set KUBE-6-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ";
    let with = |begin: &str| Some(format!("{begin}{end}"));
    assert_eq!(rule(&|_| ()), with("! -s 10.244.0.0/16 "));
    assert_eq!(rule(&|node| node.masquerade_all = true), with(""));
    assert_eq!(rule(&|node| node.local_detector = None), None);
    let detect = |detector: LocalDetector| rule(&|node| node.local_detector = Some(detector.clone()));
    assert_eq!(detect(LocalDetector::Interface("cni0".into())), with("! -i cni0 "));
    assert_eq!(detect(LocalDetector::InterfacePrefix("po\nd \"x".into())), with("! -i podx+ "));
}

fn read(lines: &str) -> Written {
    let tables = tables(IpFamily::V4, &node());
    let mut reader = Reader::new(&tables);
    lines.lines().for_each(|line| reader.line(line));
    reader.finish()
}

/// What the program prints of an empty host whose rules were just loaded.
fn printed(tables: &[Table]) -> String {
    let of_table = |table: &Table| {
        let begin =
            format!("*{}\n:PREROUTING ACCEPT [1:2]\n:INPUT ACCEPT [3:4]\n:FORWARD DROP [0:0]", table.name);
        let built_in = ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]".to_owned();
        let mut lines = vec![begin, built_in];
        lines.extend(table.chains.iter().map(|(chain, _)| format!(":{chain} - [0:0]")));
        lines.extend(table.jumps.iter().rev().map(|jump| format!("-A {} {}", jump.from, jump.rule())));
        lines.push("-A FORWARD -j DOCKER".to_owned());
        for (chain, rules) in &table.chains {
            lines.extend(rules.iter().map(|rule| format!("-A {chain} {rule}")));
        }
        lines.push("COMMIT\n".to_owned());
        lines.join("\n")
    };
    tables.iter().map(of_table).collect()
}

/// Our chains by their tables, in the order in which they are written.
const CHAINS: [(&str, &[&str]); 3] = [
    ("nat", &["KUBE-SERVICES", "KUBE-LOAD-BALANCER", "KUBE-NODE-PORT", "KUBE-MARK-MASQ", "KUBE-POSTROUTING"]),
    ("mangle", &["KUBE-IPVS-OUT-FILTER", "KUBE-SOURCE-RANGES-FIREWALL"]),
    (
        "filter",
        &[
            "KUBE-FORWARD",
            "KUBE-NODE-PORT",
            "KUBE-PROXY-FIREWALL",
            "KUBE-SOURCE-RANGES-FIREWALL",
            "KUBE-IPVS-FILTER",
        ],
    ),
];

#[test]
fn chains_do_not_depend_on_the_settings() {
    let mut other = node();
    other.masquerade_all = true;
    for node in [node(), other] {
        for family in IpFamily::ALL {
            let tables = tables(family, &node);
            let names = tables
                .iter()
                .map(|table| (table.name, table.chains.iter().map(|(chain, _)| *chain).collect::<Vec<_>>()));
            assert_eq!(names.collect::<Vec<_>>(), CHAINS.map(|(table, chains)| (table, chains.to_vec())));
        }
    }
}

#[test]
fn written_rules_are_recognized_and_differences_are_detected() {
    for family in IpFamily::ALL {
        let tables = tables(family, &node());
        let lines = printed(&tables);
        assert!(read(&lines).is(&tables));
        assert!(read(&lines).translates() && !Written::default().translates());
        let removed = |line: &str| lines.replacen(&format!("{line}\n"), "", 1);
        let loopback = tables[0].chains[0].1[0].clone();
        assert!(!read(&removed(&format!("-A KUBE-SERVICES {loopback}"))).is(&tables));
        let jump = format!("-A INPUT {}", FILTER_JUMPS[1].rule());
        assert!(!read(&removed(&jump)).is(&tables));
        assert!(!read(&lines.replacen(&jump, &format!("{jump}\n{jump}"), 1)).is(&tables), "once too often");
        // What others do in chains of theirs is their own.
        let called = lines.replacen("-A FORWARD -j DOCKER", "-A DOCKER -j KUBE-MARK-MASQ", 1);
        assert!(read(&called).is(&tables));
    }
}

#[test]
fn existing_jumps_are_kept_and_those_of_another_mode_deleted() {
    let tables = tables(IpFamily::V4, &node());
    let present = read(
        "*nat
:PREROUTING ACCEPT [3:180]
:KUBE-SERVICES - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A DOCKER -j KUBE-SERVICES
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment \"kube-proxy firewall rules\" -j KUBE-PROXY-FIREWALL
-A INPUT -j KUBE-FIREWALL
COMMIT
*security
:INPUT ACCEPT [0:0]
-A INPUT -j KUBE-IPVS-FILTER
",
    );
    let input = input(&tables, &present);
    assert!(!input.contains("-I PREROUTING") && input.contains("-I OUTPUT"), "{input}");
    assert!(input.contains("-I FORWARD -m comment --comment \"kube-proxy firewall rules\""), "{input}");
    assert!(!input.contains("-I INPUT -m comment --comment \"kube-proxy firewall rules\""), "{input}");
    let gone: Vec<_> = input.lines().filter(|line| line.starts_with("-D")).collect();
    let wanted = "-D INPUT -m conntrack --ctstate NEW -m comment \
                  --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL";
    assert_eq!(gone, [wanted]);
}

/// Otherwise a proxy that starts would write them again.
#[test]
fn both_variants_of_iptables_print_the_rules_as_rendered() {
    let detectors = [
        None,
        Some(LocalDetector::Cidr("10.244.7.9/16".parse().unwrap())),
        Some(LocalDetector::Interface("cni0".into())),
        Some(LocalDetector::InterfacePrefix("veth".into())),
    ];
    isolated(|| {
        for family in IpFamily::ALL {
            let mut sets = Sets::load().unwrap();
            for set in Set::ALL {
                sets.create(*set, family).unwrap();
            }
        }
        for (kind, family) in
            Xtables::ALL.into_iter().flat_map(|kind| IpFamily::ALL.map(|family| (kind, family)))
        {
            for detector in &detectors {
                let detector = detector.clone().filter(|detector| match detector {
                    LocalDetector::Cidr(_) => family == IpFamily::V4,
                    _ => true,
                });
                let node = NodeSettings { local_detector: detector, masquerade_mark: 0x20, ..node() };
                let tables = tables(family, &node);
                let save = || kind.save(family).unwrap().replace("[0:0] -A", "-A");
                kind.restore(family, &input(&tables, &read(&save()))).unwrap();
                let printed = save();
                assert!(read(&printed).is(&tables), "{kind:?} {family}\n{printed}");
            }
        }
    });
}

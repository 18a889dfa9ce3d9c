//! What a full sync changes, and what it keeps.

use portolan_core::Protocol::Tcp;
use portolan_core::node::NodePortSelection;
use portolan_testkit::objects::{service, slice};
use portolan_testkit::upstream::{self, iptables, kubelet};

use super::*;

fn web() -> [Event; 2] {
    [
        service("default/web", "10.96.0.10").port("", Tcp, 80).node_port(30080).applied(),
        slice("default/web", "web")
            .port("", Tcp, 8080)
            .on("n2", "10.244.0.11")
            .on("n2", "10.244.0.12")
            .applied(),
    ]
}

/// What the kubelet and kube-proxy left.
fn with_past(rules: &[&str]) -> Fake {
    let fake = Fake::default();
    for rules in rules {
        // Its options that none of ours has are words that the pretended kernel need not know.
        fake.kernel().restore(rules).unwrap();
    }
    fake
}

#[test]
fn rules_of_kube_proxy_are_adopted_and_equal_ones_are_not_written() {
    let web_service = upstream::Service::new("default/web", "10.96.0.10:80")
        .node_port(30080)
        .endpoint("10.244.0.11:8080")
        .endpoint("10.244.0.12:8080");
    let gone = upstream::Service::new("default/gone", "10.96.0.11:80").endpoint("10.244.0.13:8080");
    let past = iptables::ruleset(IpFamily::V4, &[web_service, gone]);
    let config =
        NodeConfig { node_port_addresses: NodePortSelection::Cidrs(Vec::new()), ..upstream_config() };
    let mut node = Node::on(|| with_past(&[&kubelet::ruleset(IpFamily::V4), &past]), config, web());
    let report = node.apply();
    let inputs = node.fake(IpFamily::V4).kernel().inputs.concat();
    assert!(!inputs.contains("default/web"), "{inputs}");
    assert_eq!(inputs.matches("-D KUBE-SERVICES ").count(), 1, "{inputs}");
    assert_eq!(inputs.matches("-X KUBE-").count(), 2, "{inputs}");
    assert_eq!(report.operations, 5, "{inputs}");
    assert_eq!(node.apply().operations, 0);
    assert_eq!(node.restart().apply().operations, 0);
}

fn upstream_config() -> NodeConfig {
    let pods = portolan_testkit::netns::POD_CIDR_V4.parse().unwrap();
    NodeConfig {
        detect_local: portolan_core::node::DetectLocal::ClusterCidr(vec![pods]),
        ..NodeConfig::new(world::THIS_NODE)
    }
}

#[test]
fn chains_and_rules_of_others_are_kept() {
    let others = "*nat\n:DOCKER - [0:0]\n-A PREROUTING -j DOCKER\n-A DOCKER -i docker0 -j RETURN\n:KUBE-SEP-FOREIGN - [0:0]\nCOMMIT\n\
                  *filter\n:KUBE-FIREWALL - [0:0]\n-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP\n-A INPUT -s 192.0.2.0/24 -j DROP\nCOMMIT\n";
    let mut node = Node::on(|| with_past(&[others]), world::config(), web());
    node.apply();
    let rules = node.rules(IpFamily::V4);
    let of = |table: &str, chain: &str| &rules[&(table.to_owned(), chain.to_owned())];
    assert_eq!(of("nat", "DOCKER").len(), 1);
    assert!(of("nat", "KUBE-SEP-FOREIGN").is_empty());
    let firewall = node.fake(IpFamily::V4).kernel().tables["filter"]["KUBE-FIREWALL"].len();
    assert_eq!(firewall, 2, "the kubelet's rule and ours");
    assert!(of("nat", "PREROUTING")[0].contains("KUBE-SERVICES"), "ours come first");
    assert!(of("filter", "INPUT").last().unwrap().contains("192.0.2.0/24"));
    assert_eq!(node.restart().apply().operations, 0);
}

#[test]
fn a_stale_chain_that_others_use_is_kept() {
    let mut node = Node::new(web());
    node.apply();
    let fake = node.fake(IpFamily::V4);
    let used = "*nat\n:KUBE-SEP-AAAAAAAAAAAAAAAA - [0:0]\n-A OUTPUT -j KUBE-SEP-AAAAAAAAAAAAAAAA\n:KUBE-SEP-BBBBBBBBBBBBBBBB - [0:0]\nCOMMIT\n";
    fake.kernel().restore(used).unwrap();
    let report = node.restart().apply();
    assert_eq!(report.failed_removals, 1);
    let kernel = fake.kernel();
    assert!(kernel.tables["nat"].contains_key("KUBE-SEP-AAAAAAAAAAAAAAAA"));
    assert!(!kernel.tables["nat"].contains_key("KUBE-SEP-BBBBBBBBBBBBBBBB"));
}

#[test]
fn deleted_jumps_are_restored_in_order() {
    let mut node = Node::new(web());
    node.apply();
    let wanted = node.rules(IpFamily::V4);
    let fake = node.fake(IpFamily::V4);
    for place in 0..4 {
        fake.kernel().tables.get_mut("filter").unwrap().get_mut("FORWARD").unwrap().remove(place);
        node.state.forget_applied(IpFamily::V4);
        let report = node.apply();
        assert!(report.operations <= 8, "{report:?}");
        assert_eq!(node.rules(IpFamily::V4), wanted);
    }
}

#[test]
fn last_rules_return_to_the_end_of_their_list() {
    let mut node = Node::new(web());
    node.apply();
    let wanted = node.rules(IpFamily::V4);
    let fake = node.fake(IpFamily::V4);
    fake.kernel().tables.get_mut("nat").unwrap().get_mut("KUBE-SERVICES").unwrap().reverse();
    node.state.forget_applied(IpFamily::V4);
    let report = node.apply();
    assert_eq!(report.operations, 2, "appended at the end, and taken out where it was");
    assert_eq!(node.rules(IpFamily::V4), wanted);
}

#[test]
fn canaries_detect_a_flush() {
    let mut node = Node::new(web());
    node.apply();
    let fake = node.fake(IpFamily::V4);
    let intact = |node: &mut Node| block_on(node.backend(IpFamily::V4).is_intact()).unwrap();
    assert!(intact(&mut node));
    for table in ["mangle", "filter", "nat"] {
        fake.kernel().tables.remove(table);
        assert!(!intact(&mut node), "{table}");
        node.state.forget_applied(IpFamily::V4);
        assert!(node.apply().operations > 0);
        assert!(intact(&mut node));
    }
    node.assert_as_from_scratch(web());
}

#[test]
fn changed_node_settings_rewrite_dependent_rules() {
    let mut node = Node::new(web());
    node.apply();
    let config = NodeConfig { masquerade_all: true, ..world::config() };
    node.state.reconfigure(config.clone());
    assert!(node.apply().operations > 0);
    let mut fresh = Node::on(Fake::default, config, web());
    fresh.apply();
    assert_eq!(node.rules(IpFamily::V4), fresh.rules(IpFamily::V4));
}

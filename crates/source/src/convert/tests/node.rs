//! Nodes and ServiceCIDR objects.

use portolan_core::event::{Node, ServiceCidr};

use super::*;

fn node(object: &Value) -> (Node, Vec<String>) {
    let json = serde_json::to_vec(object).unwrap();
    let wire: wire::Node<'_> = object_from_json("Node", &json).unwrap();
    let mut converter = converter(Origin::Api);
    let Converted::Proxied(node) = Node::convert(&mut converter, &wire).unwrap() else {
        panic!("a Node is always taken")
    };
    (node, converter.take_problems().iter().map(ToString::to_string).collect())
}

#[test]
fn a_node_lists_internal_addresses_before_external_ones() {
    let (node, problems) = node(&json!({
        "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "zone1"}},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]},
        "status": {"addresses": [
            {"type": "ExternalIP", "address": "198.51.100.1"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "Hostname", "address": "n1"},
            {"type": "InternalIP", "address": "fd00::1"},
            {"type": "InternalIP", "address": "n1.local"},
        ]},
    }));
    assert_eq!(texts(&node.addresses), ["10.0.0.1", "fd00::1", "198.51.100.1"]);
    assert_eq!(texts(&node.pod_cidrs), ["10.244.1.0/24", "fd00:1::/64"]);
    assert_eq!((node.zone.as_deref(), node.leaving), (Some("zone1"), false));
    assert_eq!(problems, ["Node n1: status.addresses[4]: \"n1.local\" is not an IP address"]);
}

#[test]
fn a_node_with_only_the_old_pod_cidr_field_has_that_one() {
    let (node, _) = node(&json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24"}}));
    assert_eq!(texts(&node.pod_cidrs), ["10.244.1.0/24"]);
    assert_eq!(node.zone, None);
}

#[test]
fn a_node_is_leaving_when_deleted_or_tainted_by_the_autoscaler() {
    let cases = [
        (json!({"metadata": {"name": "n1"}}), false),
        (json!({"metadata": {"name": "n1", "deletionTimestamp": "2026-11-21T02:30:21Z"}}), true),
        (
            json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}}),
            true,
        ),
        (
            json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}}),
            false,
        ),
    ];
    for (object, leaving) in cases {
        assert_eq!(node(&object).0.leaving, leaving, "{object}");
    }
}

#[test]
fn a_service_cidr_keeps_the_ranges_that_can_be_read() {
    let json = br#"{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16","fd00::/112","all"]}}"#;
    let wire: wire::ServiceCidr<'_> = object_from_json("ServiceCIDR", json).unwrap();
    let mut converter = converter(Origin::Api);
    let Converted::Proxied(cidr) = ServiceCidr::convert(&mut converter, &wire).unwrap() else { panic!() };
    assert_eq!(
        (&*cidr.name, texts(&cidr.cidrs)),
        ("kubernetes", vec!["10.96.0.0/16".into(), "fd00::/112".into()])
    );
    assert_eq!(converter.take_problems().len(), 1);
}

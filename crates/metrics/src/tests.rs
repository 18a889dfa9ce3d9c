//! What a scrape shows, compared with what kube-proxy shows.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

/// A type, and the labels of the first series in order of name.
type Shape = (String, String);

/// Metric names with their shapes, from Prometheus' text format.
fn shapes(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').unwrap();
            shapes.insert(name.to_owned(), (kind.to_owned(), String::new()));
        } else if !line.starts_with('#') {
            let series = line.split(' ').next().unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let family = name.trim_end_matches("_bucket");
            if let Some(shape) = shapes.get_mut(family).filter(|shape| shape.1.is_empty()) {
                shape.1 = labels.split(",le=").next().unwrap().trim_end_matches('}').to_owned();
            }
        }
    }
    shapes
}

fn bounds(text: &str, name: &str) -> Vec<f64> {
    let prefix = format!("{name}_bucket{{");
    let bounds = text.lines().filter(|line| line.starts_with(&prefix));
    bounds
        .map(|line| line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
        .filter(|bound: &f64| bound.is_finite())
        .collect()
}

/// Every observation there is, once.
fn observed() -> String {
    let metrics = Metrics::new("1.2.3").unwrap();
    for scope in [SyncScope::Full, SyncScope::Partial] {
        metrics.sync.attempted("IPv4", scope, Duration::from_millis(3));
    }
    metrics.sync.wrote("IPv4", 7, Duration::from_micros(30));
    metrics.sync.synced("IPv4", UNIX_EPOCH + Duration::from_millis(1_500));
    metrics.sync.queued("IPv4", UNIX_EPOCH + Duration::from_secs(2));
    metrics.sync.programmed("IPv4", Duration::from_secs(1));
    metrics.sync.nftables_sync_failed("IPv4");
    metrics.sync.nftables_cleanup_failed("IPv4");
    metrics.sync.without_local_endpoints("IPv4", 0, 3);
    metrics.flows.removed("IPv4", 0, Duration::from_millis(2));
    metrics.flows.removed("IPv4", 5, Duration::from_millis(2));
    metrics.flows.failed("IPv4");
    metrics.changes.endpoint_slices(3);
    metrics.changes.services(2, 2);
    metrics.probes.healthz(200);
    metrics.probes.livez(503);
    metrics.source.errors_reached("broken_file", 1);
    metrics.render().unwrap()
}

#[test]
fn names_types_and_labels_are_those_of_kube_proxy() {
    let family = "ip_family=\"IPv4\"";
    let expected = [
        ("kubeproxy_conntrack_reconciler_deleted_entries_total", "counter", family),
        ("kubeproxy_conntrack_reconciler_sync_duration_seconds", "histogram", family),
        ("kubeproxy_network_programming_duration_seconds", "histogram", family),
        ("kubeproxy_proxy_healthz_total", "counter", "code=\"200\""),
        ("kubeproxy_proxy_livez_total", "counter", "code=\"503\""),
        ("kubeproxy_sync_full_proxy_rules_duration_seconds", "histogram", family),
        ("kubeproxy_sync_partial_proxy_rules_duration_seconds", "histogram", family),
        ("kubeproxy_sync_proxy_rules_duration_seconds", "histogram", family),
        ("kubeproxy_sync_proxy_rules_endpoint_changes_pending", "gauge", ""),
        ("kubeproxy_sync_proxy_rules_endpoint_changes_total", "counter", ""),
        ("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "gauge", family),
        ("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "gauge", family),
        ("kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total", "counter", family),
        ("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "counter", family),
        (
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
            "gauge",
            "ip_family=\"IPv4\",traffic_policy=\"external\"",
        ),
        ("kubeproxy_sync_proxy_rules_service_changes_pending", "gauge", ""),
        ("kubeproxy_sync_proxy_rules_service_changes_total", "counter", ""),
        ("portolan_build_info", "gauge", "version=\"1.2.3\""),
        ("portolan_conntrack_failures_total", "counter", family),
        ("portolan_source_errors_total", "counter", "error=\"broken_file\""),
        ("portolan_sync_longest_transaction_seconds", "histogram", family),
        ("portolan_sync_operations", "histogram", family),
    ];
    let expected =
        expected.map(|(name, kind, labels)| (name.to_owned(), (kind.to_owned(), labels.to_owned())));
    let mut shown = shapes(&observed());
    shown.retain(|name, _| !name.starts_with("process_"));
    assert_eq!(shown, BTreeMap::from(expected));
}

#[test]
fn help_starts_with_the_stability() {
    let text = observed();
    let ours: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "))
        .filter(|line| line.starts_with("kubeproxy_") || line.starts_with("portolan_"))
        .collect();
    assert_eq!(ours.len(), 22);
    for line in ours {
        assert!(line.split_once(' ').unwrap().1.starts_with("[ALPHA] "), "{line}");
    }
}

#[test]
fn buckets_are_those_of_kube_proxy() {
    let text = observed();
    let work = [
        0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
        16.384,
    ];
    for name in ["", "full_", "partial_"] {
        assert_eq!(bounds(&text, &format!("kubeproxy_sync_{name}proxy_rules_duration_seconds")), work);
    }
    assert_eq!(bounds(&text, "kubeproxy_conntrack_reconciler_sync_duration_seconds"), work);
    let programming = bounds(&text, "kubeproxy_network_programming_duration_seconds");
    assert_eq!(programming.len(), 80);
    assert_eq!(programming[..4], [0.25, 0.5, 1.0, 2.0]);
    assert_eq!(programming[58..64], [57.0, 58.0, 59.0, 60.0, 65.0, 70.0]);
    assert_eq!(programming[70..], [105.0, 110.0, 115.0, 120.0, 150.0, 180.0, 210.0, 240.0, 270.0, 300.0]);
}

#[test]
fn values_are_shown_as_observed() {
    let text = observed();
    for line in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 2",
        "kubeproxy_sync_partial_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.004\"} 1",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1.5",
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} 2",
        "kubeproxy_sync_proxy_rules_endpoint_changes_total 3",
        "kubeproxy_sync_proxy_rules_service_changes_total 4",
        "kubeproxy_sync_proxy_rules_service_changes_pending 2",
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"internal\"} 0",
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"} 3",
        "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"} 2",
        "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 5",
        "portolan_sync_operations_sum{ip_family=\"IPv4\"} 7",
        "portolan_build_info{version=\"1.2.3\"} 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_labelled_metric_is_absent_until_it_is_observed() {
    let metrics = Metrics::new("1.2.3").unwrap();
    let mut shown = shapes(&metrics.render().unwrap());
    shown.retain(|name, _| !name.starts_with("process_"));
    let names: Vec<&str> = shown.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total",
            "kubeproxy_sync_proxy_rules_service_changes_pending",
            "kubeproxy_sync_proxy_rules_service_changes_total",
            "portolan_build_info",
        ]
    );
}

#[test]
fn a_search_that_removed_nothing_is_shown_and_one_that_failed_is_counted_apart() {
    let metrics = Metrics::new("1").unwrap();
    metrics.flows.failed("IPv6");
    metrics.flows.removed("IPv4", 0, Duration::ZERO);
    let text = metrics.render().unwrap();
    assert!(text.contains("kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 0\n"));
    assert!(text.contains("portolan_conntrack_failures_total{ip_family=\"IPv6\"} 1\n"));
    assert!(!text.contains("kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv6\"}"));
}

#[test]
fn settling_empties_what_is_pending_and_keeps_the_totals() {
    let metrics = Metrics::new("1.2.3").unwrap();
    metrics.changes.services(2, 1);
    metrics.changes.endpoint_slices(5);
    metrics.changes.settled();
    let text = metrics.render().unwrap();
    assert!(text.contains("endpoint_changes_pending 0\n") && text.contains("endpoint_changes_total 5\n"));
    assert!(text.contains("service_changes_pending 0\n") && text.contains("service_changes_total 2\n"));
}

#[test]
fn the_process_is_watched_and_two_sets_do_not_meet() {
    let (one, other) = (Metrics::new("1").unwrap(), Metrics::new("1").unwrap());
    one.source.errors_reached("broken_file", 1);
    assert!(one.render().unwrap().contains("portolan_source_errors_total{"));
    assert!(!other.render().unwrap().contains("portolan_source_errors_total{"));
    let memory = other.render().unwrap();
    let memory = memory.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
    assert!(memory.split(' ').nth(1).unwrap().parse::<u64>().unwrap() > 0);
}

#[test]
fn totals_of_errors_are_taken_over_and_never_shrink() {
    let metrics = Metrics::new("1").unwrap();
    for (total, shown) in [(0, 0), (3, 3), (3, 3), (7, 7), (2, 7)] {
        metrics.source.errors_reached("broken_file", total);
        let line = format!("portolan_source_errors_total{{error=\"broken_file\"}} {shown}\n");
        assert!(metrics.render().unwrap().contains(&line), "{total}");
    }
}

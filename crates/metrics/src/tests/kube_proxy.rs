//! Every metric of kube-proxy 1.36 that means something here, compared with what a scrape shows.

use std::collections::BTreeSet;

use super::*;

/// Buckets of kube-proxy's durations of work.
const WORK: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
];

/// Buckets of client-go's durations.
const REQUESTS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];

/// Buckets of client-go's sizes.
const SIZES: &[f64] = &[
    64.0,
    256.0,
    512.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// Its buckets for network programming: 0.25, 0.5, whole seconds to 59, fives to 115, half minutes to 300.
fn programming() -> Vec<f64> {
    let mut bounds = vec![0.25, 0.5];
    for (from, to, step) in [(1, 59, 1), (60, 115, 5), (120, 300, 30)] {
        let mut bound = from;
        while bound <= to {
            bounds.push(f64::from(bound));
            bound += step;
        }
    }
    assert_eq!(bounds.len(), 80);
    bounds
}

/// Name, type, labels and bounds of buckets.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [f64]);

const FAMILY: &[&str] = &["ip_family"];
const TABLE: &[&str] = &["ip_family", "table"];
const CLIENT: &[&str] = &["host", "verb"];

#[rustfmt::skip]
const KUBE_PROXY: &[Row] = &[
    ("kubeproxy_sync_proxy_rules_duration_seconds", "histogram", FAMILY, WORK),
    ("kubeproxy_sync_full_proxy_rules_duration_seconds", "histogram", FAMILY, WORK),
    ("kubeproxy_sync_partial_proxy_rules_duration_seconds", "histogram", FAMILY, WORK),
    ("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "gauge", FAMILY, &[]),
    ("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "gauge", FAMILY, &[]),
    ("kubeproxy_sync_proxy_rules_endpoint_changes_pending", "gauge", &[], &[]),
    ("kubeproxy_sync_proxy_rules_endpoint_changes_total", "counter", &[], &[]),
    ("kubeproxy_sync_proxy_rules_service_changes_pending", "gauge", &[], &[]),
    ("kubeproxy_sync_proxy_rules_service_changes_total", "counter", &[], &[]),
    ("kubeproxy_sync_proxy_rules_no_local_endpoints_total", "gauge", &["ip_family", "traffic_policy"], &[]),
    ("kubeproxy_proxy_healthz_total", "counter", &["code"], &[]),
    ("kubeproxy_proxy_livez_total", "counter", &["code"], &[]),
    ("kubeproxy_sync_proxy_rules_iptables_total", "gauge", TABLE, &[]),
    ("kubeproxy_sync_proxy_rules_iptables_last", "gauge", TABLE, &[]),
    ("kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "counter", FAMILY, &[]),
    ("kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total", "counter", FAMILY, &[]),
    ("kubeproxy_iptables_ct_state_invalid_dropped_packets_total", "counter", &[], &[]),
    ("kubeproxy_iptables_localhost_nodeports_accepted_packets_total", "counter", &[], &[]),
    ("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "counter", FAMILY, &[]),
    ("kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total", "counter", FAMILY, &[]),
    ("kubeproxy_conntrack_reconciler_sync_duration_seconds", "histogram", FAMILY, WORK),
    ("kubeproxy_conntrack_reconciler_deleted_entries_total", "counter", FAMILY, &[]),
    ("kubernetes_build_info", "gauge", &["build_date", "compiler", "git_commit", "git_tree_state",
        "git_version", "go_version", "major", "minor", "platform"], &[]),
    ("kubernetes_feature_enabled", "gauge", &["name", "stage"], &[]),
    ("rest_client_requests_total", "counter", &["code", "host", "method"], &[]),
    ("rest_client_request_duration_seconds", "histogram", CLIENT, REQUESTS),
    ("rest_client_request_size_bytes", "histogram", CLIENT, SIZES),
    ("rest_client_response_size_bytes", "histogram", CLIENT, SIZES),
    ("rest_client_rate_limiter_duration_seconds", "histogram", CLIENT, REQUESTS),
    ("process_cpu_seconds_total", "counter", &[], &[]),
    ("process_max_fds", "gauge", &[], &[]),
    ("process_network_receive_bytes_total", "counter", &[], &[]),
    ("process_network_transmit_bytes_total", "counter", &[], &[]),
    ("process_open_fds", "gauge", &[], &[]),
    ("process_resident_memory_bytes", "gauge", &[], &[]),
    ("process_start_time_seconds", "gauge", &[], &[]),
    ("process_virtual_memory_bytes", "gauge", &[], &[]),
    ("process_virtual_memory_max_bytes", "gauge", &[], &[]),
];

#[test]
fn names_types_labels_and_buckets_are_those_of_kube_proxy() {
    let mut shown = shapes(&observed().render().unwrap());
    let programming = programming();
    let network = ("kubeproxy_network_programming_duration_seconds", "histogram", FAMILY, &programming[..]);
    for (name, kind, labels, bounds) in KUBE_PROXY.iter().copied().chain([network]) {
        let shape = shown.remove(name).unwrap_or_default();
        let expected: BTreeSet<String> = bounds.iter().map(ToString::to_string).collect();
        assert_eq!(shape.kind, kind, "{name}");
        assert!(shape.labels.iter().eq(labels), "{name}: {:?}", shape.labels);
        assert_eq!(shape.bounds, expected, "{name}");
    }
    let others: Vec<_> = shown.keys().filter(|name| !name.starts_with("portolan_")).collect();
    assert_eq!(
        others,
        ["process_threads"],
        "kube-proxy does not have these, so they should not look like its own"
    );
}

#[test]
fn the_dashboard_of_kubernetes_mixin_finds_the_series_it_asks_for() {
    let text = observed().render().unwrap();
    for series in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count{",
        "kubeproxy_sync_proxy_rules_duration_seconds_bucket{",
        "kubeproxy_network_programming_duration_seconds_count{",
        "kubeproxy_network_programming_duration_seconds_bucket{",
        "rest_client_requests_total{code=\"2",
        "rest_client_request_duration_seconds_bucket{host=\"api:6443\",verb=\"GET\",le=\"",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(series)), "{series} is not in\n{text}");
    }
    // There are no goroutines here, and a number of anything else under that name would mislead.
    assert!(!text.lines().any(|line| line.starts_with("go_")), "{text}");
}

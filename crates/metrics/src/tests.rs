//! What a scrape shows.

mod documentation;
mod kube_proxy;
mod scrape;

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use portolan_core::backend::Metric;

use super::*;
use scrape::shapes;

fn build() -> Build {
    Build { git_version: "v1.36.2+portolan.1.2.3".into(), version: "1.2.3" }
}

fn new_metrics() -> Metrics {
    Metrics::new(&build()).unwrap()
}

/// Every observation there is, at least once.
fn observed() -> Metrics {
    let metrics = new_metrics();
    observe_syncs(&metrics.sync);
    metrics.flows.removed("IPv4", 0, Duration::from_millis(2));
    metrics.flows.removed("IPv4", 5, Duration::from_millis(2));
    metrics.flows.failed("IPv4");
    metrics.changes.endpoint_slices(3);
    metrics.changes.services(2, 2);
    metrics.probes.healthz(200);
    metrics.probes.livez(503);
    metrics.probes.readyz(503);
    metrics.source.errors_reached("broken_file", 1);
    metrics.client.answered("GET", "200", "api:6443", Duration::from_millis(30), 0, Some(500));
    metrics.client.limited("GET", "api:6443", Duration::from_millis(200));
    metrics.events.reached(EventResult::Sent, 2);
    metrics.mode.fell_back("nftables", "iptables");
    metrics.mode.selected("iptables");
    metrics.config.reloaded(UNIX_EPOCH + Duration::from_secs(3));
    metrics.leftovers.removed("ipvs", 4);
    metrics.leftovers.failed("ipvs");
    metrics.leftovers.foreign("iptables", "IPv4", true);
    observe_backends(&metrics.backend);
    metrics.features([("ComponentFlagz", "BETA", true), ("NFTablesProxyMode", "", false)]);
    metrics
}

fn observe_backends(backend: &BackendMetrics) {
    let of_rules = |kind: &str, rules| {
        Metric::gauge(format!("kubeproxy_sync_proxy_rules_iptables_{kind}"), rules).with_label("table", "nat")
    };
    let reported = [
        of_rules("total", 90),
        of_rules("last", 8),
        Metric::increment("kubeproxy_sync_proxy_rules_iptables_restore_failures_total", 1),
        Metric::increment("kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total", 1),
        Metric::increment("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", 1),
        Metric::increment("kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total", 2),
        Metric::increment("portolan_failed_removals_total", 2),
    ];
    assert!(backend.report("IPv4", &reported).is_empty());
    for failed in [2, 5] {
        let counted = [
            Metric::gauge("portolan_mode_current", 3).with_label("what", "tcp_sessions"),
            Metric::total("portolan_mode_total", failed).with_label("what", "failed"),
            Metric::total("kubeproxy_iptables_ct_state_invalid_dropped_packets_total", 6),
            Metric::total("kubeproxy_iptables_localhost_nodeports_accepted_packets_total", 7),
        ];
        assert!(backend.replace(&counted).is_empty());
    }
}

fn observe_syncs(sync: &SyncMetrics) {
    for scope in [SyncScope::Full, SyncScope::Partial] {
        sync.attempted("IPv4", scope, Duration::from_millis(3));
    }
    let longest_transaction = Duration::from_micros(30);
    sync.wrote("IPv4", &Written { operations: 7, messages: 2, bytes: 300, longest_transaction });
    sync.failed("IPv4");
    sync.drifted("IPv4", 2);
    sync.lag("IPv4", Duration::from_millis(250));
    sync.rules_programmed("IPv4", true);
    sync.rules_programmed("IPv6", false);
    sync.synced("IPv4", UNIX_EPOCH + Duration::from_millis(1_500));
    sync.queued("IPv4", UNIX_EPOCH + Duration::from_secs(2));
    sync.programmed("IPv4", Duration::from_secs(1));
    sync.rules_damaged("IPv4");
    sync.without_local_endpoints("IPv4", 0, 3);
}

/// The metrics that the code defines.
fn defined() -> BTreeSet<String> {
    const CODE: [&str; 6] = [
        include_str!("api.rs"),
        include_str!("backend.rs"),
        include_str!("modes.rs"),
        include_str!("process.rs"),
        include_str!("program.rs"),
        include_str!("sync.rs"),
    ];
    let is_metric = |word: &str| {
        ["kubeproxy_", "kubernetes_", "portolan_", "process_", "rest_client_"]
            .iter()
            .any(|start| word.starts_with(start))
    };
    CODE.iter()
        .flat_map(|code| code.split('"'))
        .filter(|word| is_metric(word) && !word.ends_with('*'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_defined_metric_is_shown_once_observed() {
    let shown: BTreeSet<String> = shapes(&observed().render().unwrap()).into_keys().collect();
    assert_eq!(shown, defined());
}

#[test]
fn help_starts_with_the_stability() {
    for (name, shape) in shapes(&observed().render().unwrap()) {
        let stability = match name.split('_').next().unwrap() {
            "process" => continue,
            "kubernetes" if name == "kubernetes_feature_enabled" => "[BETA] ",
            _ => "[ALPHA] ",
        };
        assert!(shape.help.starts_with(stability), "{name}: {}", shape.help);
    }
}

#[test]
fn values_are_shown_as_observed() {
    let text = observed().render().unwrap();
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
        "portolan_sync_failures_total{ip_family=\"IPv4\"} 1",
        "portolan_sync_drift_operations_total{ip_family=\"IPv4\"} 2",
        "portolan_sync_repairs_total{ip_family=\"IPv4\"} 1",
        "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family=\"IPv4\"} 2",
        "portolan_sync_lag_seconds{ip_family=\"IPv4\"} 0.25",
        "portolan_rules_programmed{ip_family=\"IPv4\"} 1",
        "portolan_rules_programmed{ip_family=\"IPv6\"} 0",
        "rest_client_requests_total{code=\"200\",host=\"api:6443\",method=\"GET\"} 1",
        "rest_client_request_duration_seconds_bucket{host=\"api:6443\",verb=\"GET\",le=\"0.1\"} 1",
        "rest_client_request_size_bytes_sum{host=\"api:6443\",verb=\"GET\"} 0",
        "rest_client_response_size_bytes_sum{host=\"api:6443\",verb=\"GET\"} 500",
        "rest_client_rate_limiter_duration_seconds_sum{host=\"api:6443\",verb=\"GET\"} 0.2",
        "portolan_events_total{result=\"sent\"} 2",
        "portolan_proxy_mode{mode=\"iptables\"} 1",
        "portolan_mode_fallbacks_total{from=\"nftables\",to=\"iptables\"} 1",
        "portolan_mode_current{what=\"tcp_sessions\"} 3",
        "portolan_mode_total{what=\"failed\"} 5",
        "portolan_config_reloads_total{result=\"success\"} 1",
        "portolan_config_last_reload_successful 1",
        "portolan_config_last_reload_success_timestamp_seconds 3",
        "portolan_leftovers_removed_total{of=\"ipvs\"} 4",
        "portolan_leftovers_failures_total{of=\"ipvs\"} 1",
        "portolan_foreign_proxy_rules{ip_family=\"IPv4\",of=\"iptables\"} 1",
        "kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"} 90",
        "kubeproxy_sync_proxy_rules_iptables_last{ip_family=\"IPv4\",table=\"nat\"} 8",
        "kubeproxy_iptables_ct_state_invalid_dropped_packets_total 6",
        "kubeproxy_iptables_localhost_nodeports_accepted_packets_total 7",
        "kubernetes_feature_enabled{name=\"ComponentFlagz\",stage=\"BETA\"} 1",
        "kubernetes_feature_enabled{name=\"NFTablesProxyMode\",stage=\"\"} 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_labelled_metric_is_absent_until_it_is_observed() {
    let mut shown = shapes(&new_metrics().render().unwrap());
    shown.retain(|name, _| !name.starts_with("process_"));
    let names: Vec<&str> = shown.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total",
            "kubeproxy_sync_proxy_rules_service_changes_pending",
            "kubeproxy_sync_proxy_rules_service_changes_total",
            "kubernetes_build_info",
            "portolan_build_info",
        ]
    );
}

#[test]
fn a_search_that_removed_nothing_is_shown_and_a_failed_one_is_counted_separately() {
    let metrics = new_metrics();
    metrics.flows.failed("IPv6");
    metrics.flows.removed("IPv4", 0, Duration::ZERO);
    let text = metrics.render().unwrap();
    assert!(text.contains("kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 0\n"));
    assert!(text.contains("portolan_conntrack_failures_total{ip_family=\"IPv6\"} 1\n"));
    assert!(!text.contains("kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv6\"}"));
}

#[test]
fn counters_of_failures_are_zero_before_the_first_failure() {
    let metrics = new_metrics();
    metrics.sync.started("IPv6");
    let failures = ["nftables_cleanup", "iptables_restore", "iptables_partial_restore"]
        .map(|of| Metric::increment(format!("kubeproxy_sync_proxy_rules_{of}_failures_total"), 0));
    assert!(metrics.backend.report("IPv6", &failures).is_empty());
    metrics.flows.removed("IPv6", 0, Duration::ZERO);
    metrics.leftovers.removed("ipvs", 0);
    let text = metrics.render().unwrap();
    for line in [
        "portolan_sync_failures_total{ip_family=\"IPv6\"} 0",
        "portolan_sync_drift_operations_total{ip_family=\"IPv6\"} 0",
        "portolan_sync_repairs_total{ip_family=\"IPv6\"} 0",
        "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family=\"IPv6\"} 0",
        "kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family=\"IPv6\"} 0",
        "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family=\"IPv6\"} 0",
        "portolan_conntrack_failures_total{ip_family=\"IPv6\"} 0",
        "portolan_leftovers_failures_total{of=\"ipvs\"} 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}

#[test]
fn all_synced_resets_pending_changes_and_keeps_totals() {
    let metrics = new_metrics();
    metrics.changes.services(2, 1);
    metrics.changes.endpoint_slices(5);
    metrics.changes.all_synced();
    let text = metrics.render().unwrap();
    assert!(text.contains("endpoint_changes_pending 0\n") && text.contains("endpoint_changes_total 5\n"));
    assert!(text.contains("service_changes_pending 0\n") && text.contains("service_changes_total 2\n"));
}

#[test]
fn process_metrics_are_shown_and_two_registries_are_independent() {
    let (one, other) = (new_metrics(), new_metrics());
    one.source.errors_reached("broken_file", 1);
    assert!(one.render().unwrap().contains("portolan_source_errors_total{"));
    assert!(!other.render().unwrap().contains("portolan_source_errors_total{"));
    let memory = other.render().unwrap();
    let memory = memory.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
    assert!(memory.split(' ').nth(1).unwrap().parse::<u64>().unwrap() > 0);
}

#[test]
fn totals_of_errors_are_copied_and_never_shrink() {
    let metrics = new_metrics();
    for (total, shown) in [(0, 0), (3, 3), (3, 3), (7, 7), (2, 7)] {
        metrics.source.errors_reached("broken_file", total);
        let line = format!("portolan_source_errors_total{{error=\"broken_file\"}} {shown}\n");
        assert!(metrics.render().unwrap().contains(&line), "{total}");
    }
}

#[test]
fn totals_of_events_are_copied() {
    let metrics = new_metrics();
    metrics.events.reached(EventResult::Failed, 4);
    metrics.events.reached(EventResult::Failed, 4);
    metrics.events.reached(EventResult::Dropped, 0);
    let text = metrics.render().unwrap();
    assert!(text.contains("portolan_events_total{result=\"failed\"} 4\n"), "{text}");
    assert!(text.contains("portolan_events_total{result=\"dropped\"} 0\n"), "{text}");
}

#[test]
fn only_the_current_mode_and_feature_gates_are_shown() {
    let metrics = new_metrics();
    metrics.mode.selected("nftables");
    metrics.mode.selected("ipvs");
    metrics.features([("A", "ALPHA", false)]);
    metrics.features([("B", "BETA", true)]);
    let text = metrics.render().unwrap();
    let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
    assert_eq!(lines("portolan_proxy_mode{"), ["portolan_proxy_mode{mode=\"ipvs\"} 1"]);
    assert_eq!(
        lines("kubernetes_feature_enabled{"),
        ["kubernetes_feature_enabled{name=\"B\",stage=\"BETA\"} 1"]
    );
}

#[test]
fn a_failed_reload_keeps_the_time_of_the_last_successful_one() {
    let metrics = new_metrics();
    metrics.config.reloaded(UNIX_EPOCH + Duration::from_secs(10));
    metrics.config.reload_failed();
    let text = metrics.render().unwrap();
    for line in [
        "portolan_config_reloads_total{result=\"failure\"} 1",
        "portolan_config_reloads_total{result=\"success\"} 1",
        "portolan_config_last_reload_successful 0",
        "portolan_config_last_reload_success_timestamp_seconds 10",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}

#[test]
fn build_info_has_the_labels_of_kubernetes() {
    let text = new_metrics().render().unwrap();
    let line = text.lines().find(|line| line.starts_with("kubernetes_build_info{")).unwrap();
    for label in [
        "major=\"1\"",
        "minor=\"36\"",
        "git_version=\"v1.36.2+portolan.1.2.3\"",
        "go_version=\"rustc 1.",
        "compiler=\"rustc\"",
        "platform=\"linux/",
        "git_commit=\"",
        "git_tree_state=\"",
        "build_date=\"",
    ] {
        assert!(line.contains(label), "{label} is not in {line}");
    }
    assert!(COMPILER.starts_with("rustc 1."), "{COMPILER}");
}

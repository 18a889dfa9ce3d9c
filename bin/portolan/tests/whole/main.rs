//! The whole proxy with a backend of its own, from start to end, through the same entry as ours.
//!
//! One test, because it sends its own process signals, and a process has one log.

#![expect(clippy::unwrap_used, reason = "everything in this crate is a test")]

mod balancers;
mod recorder;
mod running;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use portolan_core::IpFamily;
use portolan_testkit::api_server::ApiServer;
use portolan_testkit::netns::isolated;
use serde_json::{Value, json};

use recorder::Recorder;
use running::{Proxy, free_address, get, run, wait_until};

/// The plan that follows from [`objects`].
const PLAN: &str = "IPv4 {shop/web tcp: port 80 cluster 10.96.0.7 → [10.244.0.7:8080 anywhere]}";

/// A Service with one endpoint.
fn objects() -> [Value; 2] {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "protocol": "TCP"}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.244.0.7"]}],
    });
    [service, slice]
}

#[test]
fn a_custom_backend_is_served_from_either_source_until_something_ends_it() {
    // The proxy removes what other proxies left, and this host's are not ours.
    isolated(|| {
        let recorder = Recorder::default();
        let folder = tempfile::tempdir().unwrap();
        serves_manifests(&recorder, folder.path());
        tells_that_it_waits_for_an_api_server(&recorder, folder.path());
        serves_an_api_server(&recorder);
        balancers::are_answered(&recorder);
        cleans_up(&recorder);
        ends_with_an_error(&recorder, folder.path());
    });
}

fn serves_manifests(recorder: &Recorder, folder: &Path) {
    let manifests = objects().map(|object| object.to_string()).join("\n---\n");
    put(folder, &manifests);
    recorder.told().refuses = true;
    let proxy = Proxy::start(recorder, format!("--manifests={}", folder.display()));

    // No rules yet: alive, but not to be sent traffic.
    let attempts = "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}";
    wait_until("an apply has failed", || proxy.page().contains(attempts));
    assert_eq!((proxy.status("/healthz"), proxy.status("/livez")), (Some(503), Some(200)));
    assert!(get(proxy.health, "/healthz").unwrap().1.contains("\"healthy\":false"));
    let (status, body) = get(proxy.health, "/readyz").unwrap();
    assert!(status == 503 && body.contains("the initial sync has not completed; syncs fail"), "{body}");
    assert!(proxy.page().contains("portolan_rules_programmed{ip_family=\"IPv4\"} 0\n"));
    assert!(!proxy.page().contains("kubeproxy_sync_proxy_rules_last_timestamp_seconds{"));
    assert_eq!(proxy.status("/metrics"), Some(404));

    // The kernel takes them: healthy.
    recorder.told().refuses = false;
    wait_until("/healthz is 200", || proxy.status("/healthz") == Some(200));
    assert_eq!(proxy.status("/readyz"), Some(200));
    assert!(proxy.page().contains("portolan_rules_programmed{ip_family=\"IPv4\"} 1\n"));
    assert!(proxy.page().contains("portolan_proxy_readyz_total{code=\"503\"}"));
    assert!(recorder.told().plans.iter().any(|plan| plan == PLAN));
    assert!(proxy.page().contains("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1"));
    assert!(proxy.page().contains("kubeproxy_proxy_healthz_total{code=\"503\"}"));
    assert!(proxy.page().contains("portolan_source_errors_total{error=\"broken_file\"} 0"));
    assert!(!proxy.page().contains("nftables_sync_failures_total{"), "another mode failed");
    assert_eq!(get(proxy.metrics, "/proxyMode"), Some((200, "recorder".to_owned())));
    assert_eq!(get(proxy.metrics, "/healthz"), Some((200, "ok".to_owned())));

    // A change of the folder arrives.
    put(folder, &manifests.replace("10.244.0.7", "10.244.0.8"));
    let changed = PLAN.replace("10.244.0.7", "10.244.0.8");
    wait_until("the change is applied", || recorder.told().plans.contains(&changed));

    // SIGTERM ends it, and takes nothing away.
    let health = proxy.health;
    assert_eq!(proxy.terminate(), ExitCode::SUCCESS);
    assert_eq!(recorder.told().cleaned, []);
    assert_eq!(get(health, "/livez"), None);
}

/// An API server that is away must show on each page of a node without rules: nothing may say that all is well.
fn tells_that_it_waits_for_an_api_server(recorder: &Recorder, folder: &Path) {
    recorder.told().plans.clear();
    let away = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", free_address())}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let kubeconfig = folder.join("kubeconfig");
    fs::write(&kubeconfig, away.to_string()).unwrap();
    let proxy = Proxy::start(recorder, format!("--kubeconfig={}", kubeconfig.display()));

    let value = |series: &str| -> Option<f64> {
        proxy.page().lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    };
    let failed = "portolan_source_errors_total{error=\"failed_request\"}";
    wait_until("requests have failed", || value(failed).is_some_and(|times| times > 0.0));
    assert_eq!(value("portolan_rules_programmed{ip_family=\"IPv4\"}"), Some(0.0));
    assert!(value("portolan_sync_lag_seconds{ip_family=\"IPv4\"}").is_some_and(|lag| lag > 0.0));
    assert_eq!(value("portolan_sync_failures_total{ip_family=\"IPv4\"}"), Some(0.0));
    assert!(!proxy.page().contains("kubeproxy_sync_proxy_rules_last_timestamp_seconds{"));
    let (status, body) = get(proxy.health, "/readyz").unwrap();
    assert!(status == 503 && body.contains("waiting for Services"), "{body}");
    let (status, body) = get(proxy.health, "/healthz").unwrap();
    assert!(status == 503 && body.starts_with("{\"lastUpdated\":\"0001-01-01T00:00:00Z\""), "{body}");
    assert_eq!(proxy.status("/livez"), Some(200));
    assert_eq!(recorder.told().plans, Vec::<String>::new());
    assert_eq!(proxy.terminate(), ExitCode::SUCCESS);
    fs::remove_file(kubeconfig).unwrap();
}

fn serves_an_api_server(recorder: &Recorder) {
    recorder.told().plans.clear();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(ApiServer::start()).unwrap();
    server.apply_all(objects());
    let proxy = Proxy::start(recorder, format!("--kubeconfig={}", server.kubeconfig_file().display()));

    // While nobody has seen the Node there are no rules, and there is no load balancer's traffic.
    wait_until("the servers listen", || proxy.status("/livez") == Some(200));
    assert_eq!(proxy.status("/healthz"), Some(503));
    assert_eq!(recorder.told().plans, Vec::<String>::new());
    let status = json!({"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]});
    server.apply(json!({"kind": "Node", "metadata": {"name": "n1"}, "status": &status}));
    wait_until("the plan is applied", || recorder.told().plans.iter().any(|plan| plan == PLAN));
    wait_until("the node counts", || proxy.status("/healthz") == Some(200));
    let taint = json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
    server.apply(
        json!({"kind": "Node", "metadata": {"name": "n1"}, "status": status, "spec": {"taints": taint}}),
    );
    wait_until("the node is leaving", || proxy.status("/healthz") == Some(503));
    assert_eq!((proxy.status("/readyz"), proxy.status("/livez")), (Some(200), Some(200)));

    assert!(server.delete("Service", "shop", "web"));
    wait_until("the Service is gone", || recorder.told().plans.last().is_some_and(|plan| plan == "IPv4 {}"));
    assert_eq!(proxy.terminate(), ExitCode::SUCCESS);
}

/// `--cleanup` works in every family that the host has, and needs no source.
fn cleans_up(recorder: &Recorder) {
    assert_eq!(run(recorder, &["--cleanup".to_owned()]), ExitCode::SUCCESS);
    assert_eq!(recorder.told().cleaned.first(), Some(&IpFamily::V4));
}

fn ends_with_an_error(recorder: &Recorder, folder: &Path) {
    let gone = Proxy::start(recorder, format!("--manifests={}-gone", folder.display()));
    assert_eq!(gone.ended(), ExitCode::FAILURE, "there is no such folder");
    let stranger = Proxy::start(recorder, format!("--kubeconfig={}/none", folder.display()));
    assert_eq!(stranger.ended(), ExitCode::FAILURE, "there is no such kubeconfig");
    recorder.told().panics = true;
    let broken = Proxy::start(recorder, format!("--manifests={}", folder.display()));
    assert_eq!(broken.ended(), ExitCode::FAILURE, "the backend panicked");
}

fn put(folder: &Path, text: &str) {
    let draft = folder.join("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, folder.join("web.yaml")).unwrap();
}

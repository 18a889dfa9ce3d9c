//! Load balancers that ask whether this node has endpoints of a Service.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use serde_json::json;

use crate::put;
use crate::recorder::Recorder;
use crate::running::{Proxy, free_address, get, wait_until};

/// A Service that asks for a health check on this port under this external traffic policy,
/// with an endpoint on `node`.
fn objects(port: u16, policy: &str, node: &str) -> String {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.7",
            "externalTrafficPolicy": policy,
            "healthCheckNodePort": port,
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
        },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.244.0.7"], "nodeName": node}],
    });
    format!("{service}\n---\n{slice}")
}

/// The line of the metrics page for Services with this policy that lack local endpoints.
fn lacking(policy: &str, count: usize) -> String {
    let labels = format!("ip_family=\"IPv4\",traffic_policy=\"{policy}\"");
    format!("kubeproxy_sync_proxy_rules_no_local_endpoints_total{{{labels}}} {count}\n")
}

/// A Service has its port once the rules follow, and for as long as its policy is Local.
pub(crate) fn are_answered(recorder: &Recorder) {
    let port = free_address().port();
    let check = || get(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), "/any");
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &objects(port, "Local", "n1"));
    recorder.told().refuses = true;
    let proxy = Proxy::start(recorder, format!("--manifests={}", folder.path().display()));
    let failed = "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}";
    wait_until("an apply has failed", || proxy.page().contains(failed));
    assert_eq!(check(), None);
    recorder.told().refuses = false;
    wait_until("the check is 200", || check().is_some_and(|(status, _)| status == 200));
    let body = check().unwrap().1;
    assert!(body.contains("\"name\": \"web\"") && body.contains("\"localEndpoints\": 1,"), "{body}");
    assert!(proxy.page().contains(&lacking("external", 0)));

    put(folder.path(), &objects(port, "Local", "n2"));
    wait_until("the check is 503", || check().is_some_and(|(status, _)| status == 503));
    wait_until("the gauge follows", || proxy.page().contains(&lacking("external", 1)));
    assert!(proxy.page().contains(&lacking("internal", 0)));
    put(folder.path(), &objects(port, "Cluster", "n2"));
    wait_until("nobody answers", || check().is_none());
    assert_eq!(proxy.terminate(), ExitCode::SUCCESS);
}

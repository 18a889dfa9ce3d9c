//! Events that the proxy writes, with no more requests than its role allows.

use portolan_testkit::netns::{EchoServer, Portolan, isolated, wait_until};
use portolan_testkit::shop::{NODE, PORT};
use serde_json::{Value, json};

use crate::stage::{HEALTH, METRICS, PATIENCE, Stage, WEB, exit_code, socket, web};

/// What is the same in all Events of this node.
fn assert_is_about(event: &Value, kind: &str, action: &str, regarding: &Value) {
    assert_eq!(event["type"], kind, "{event:#}");
    assert_eq!(event["action"], action, "{event:#}");
    assert_eq!(&event["regarding"], regarding, "{event:#}");
    assert_eq!(event["reportingController"], "kube-proxy", "{event:#}");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(event["reportingInstance"], format!("kube-proxy-{}", host.trim()), "{event:#}");
    assert!(event["eventTime"].is_string(), "{event:#}");
}

fn this_node() -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "name": NODE})
}

#[test]
fn start_is_reported_as_event_within_the_role_of_kubeadm() {
    isolated(|| {
        let stage = Stage::new(2);
        stage.api.allow_only_what_a_proxy_may();
        stage.serve_web_by(&[1, 2]);
        let proxy = stage.start_synced();
        let started = stage.wait_for_event("Starting");
        assert_is_about(&started, "Normal", "StartKubeProxy", &this_node());
        assert_eq!(started["metadata"]["namespace"], "default");
        assert!(proxy.terminate(PATIENCE).unwrap().success());
        assert_eq!(stage.api.forbidden(), []);
        assert_eq!(stage.events("Starting").len(), 1, "{:#?}", stage.api.events());
    });
}

/// Port of the health check of [`balanced`].
const CHECK: u16 = 32100;

/// The Service `shop/web` behind a load balancer that keeps clients' addresses.
fn balanced() -> Value {
    let mut service = web();
    service["spec"]["type"] = json!("LoadBalancer");
    service["spec"]["externalTrafficPolicy"] = json!("Local");
    service["spec"]["healthCheckNodePort"] = json!(CHECK);
    service
}

#[test]
fn health_check_port_in_use_is_reported_once_per_service() {
    isolated(|| {
        let stage = Stage::new(2);
        stage.serve_web_by(&[1, 2]);
        let taken = EchoServer::start(stage.net.node(), "bystander", &[CHECK]).unwrap();
        let mut proxy = stage.start_synced();
        stage.put(balanced());
        let event = stage.wait_for_event("FailedToStartServiceHealthcheck");
        let service = json!({"kind": "Service", "namespace": "shop", "name": "web"});
        assert_is_about(&event, "Warning", "Listen", &service);
        assert_eq!(event["metadata"]["namespace"], "shop");
        let note = event["note"].as_str().unwrap();
        let beginning = format!("node {NODE} failed to start healthcheck \"shop/web\" on port {CHECK}: ");
        assert!(note.starts_with(&beginning), "{note}");

        drop(taken);
        // Anything that happens makes it try again.
        stage.serve_web_by(&[1]);
        let answers = |_: &Portolan| {
            let at = (portolan_testkit::netns::NODE_V4, CHECK).into();
            portolan_testkit::netns::http_get(stage.net.client(), at, "/")
                .is_ok_and(|reply| reply.status == 200)
        };
        proxy.wait_until("the port is open", PATIENCE, answers).unwrap();
        let told = stage.events("FailedToStartServiceHealthcheck").len();
        assert!((1..=2).contains(&told), "once for each family, at most: {told}");
    });
}

/// As in an upgrade whose old proxy does not end: it owns the tables until it does.
#[test]
fn failing_sync_and_its_recovery_are_reported_as_events() {
    isolated(|| {
        let stage = Stage::new(2);
        stage.serve_web_by(&[1]);
        let old = stage.start_synced();
        let traffic = stage.probe_web();
        let other_ports =
            ["--metrics-bind-address=127.0.0.1:11249", "--healthz-bind-address=127.0.0.1:11256"];
        let new = stage.start(&[&["--mode=nftables"], &other_ports[..]].concat());
        let failing = stage.wait_for_event("ProxyRulesSyncFailing");
        assert_is_about(&failing, "Warning", "SyncProxyRules", &this_node());
        let note = failing["note"].as_str().unwrap();
        assert!(note.contains("belongs to another running process"), "{note}");
        wait_until("both families are reported", PATIENCE, || {
            stage.events("ProxyRulesSyncFailing").len() == 2
        })
        .unwrap();
        assert!(stage.events("ProxyRulesSyncRecovered").is_empty());
        let page = |path| new.get("127.0.0.1:11249".parse().unwrap(), path).unwrap().body;
        for counter in
            ["portolan_sync_failures_total", "kubeproxy_sync_proxy_rules_nftables_sync_failures_total"]
        {
            assert!(value(&page("/metrics"), &format!("{counter}{{ip_family=\"IPv4\"}}")) > 0.0);
        }
        assert!(value(&page("/metrics"), "portolan_sync_lag_seconds{ip_family=\"IPv4\"}") >= 5.0);
        assert_eq!(old.metric("portolan_sync_failures_total{ip_family=\"IPv4\"}").unwrap(), Some(0.0));

        assert!(old.terminate(PATIENCE).unwrap().success());
        let recovered = stage.wait_for_event("ProxyRulesSyncRecovered");
        assert_is_about(&recovered, "Normal", "SyncProxyRules", &this_node());
        let is_told = || stage.events("ProxyRulesSyncRecovered").len() == 2;
        wait_until("both families follow again", PATIENCE, is_told).unwrap();
        let lag = || value(&page("/metrics"), "portolan_sync_lag_seconds{ip_family=\"IPv4\"}");
        wait_until("nothing waits any more", PATIENCE, || lag() == 0.0).unwrap();
        stage.serve_web_by(&[2]);
        traffic.wait_for_pod("pod2");
        traffic.assert_nothing_lost();
        drop(new);
    });
}

/// The value of a series on a metrics page.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} at {METRICS}: {page}")).trim().parse().unwrap()
}

/// `bindAddressHardFail`: what cannot listen does not run, and says so before it ends.
#[test]
fn a_server_that_cannot_listen_ends_the_proxy_with_an_event_if_asked_to() {
    isolated(|| {
        let stage = Stage::new(2);
        stage.serve_web_by(&[1, 2]);
        let cases = [(HEALTH, "FailedToStartProxierHealthcheck"), (METRICS, "FailedToStartMetricServer")];
        for (address, reason) in cases {
            let _taken = EchoServer::start_at(stage.net.node(), "bystander", &[address]).unwrap();
            let mut proxy = stage.start(&["--mode=nftables", "--bind-address-hard-fail"]);
            assert_eq!(exit_code(&mut proxy), Some(1), "{}", proxy.log().unwrap());
            let event = stage.wait_for_event(reason);
            assert_is_about(&event, "Warning", "StartKubeProxy", &this_node());
            assert!(event["note"].as_str().unwrap().contains("Address already in use"), "{event:#}");
        }
    });
}

#[test]
fn otherwise_services_are_served_and_the_server_listens_when_it_can() {
    isolated(|| {
        let stage = Stage::new(2);
        stage.serve_web_by(&[1, 2]);
        let taken = EchoServer::start_at(stage.net.node(), "bystander", &[HEALTH]).unwrap();
        let mut proxy = stage.start_synced();
        stage.client().connect_tcp(socket(WEB[0], PORT)).unwrap();
        let is_said = |proxy: &Portolan| proxy.log().unwrap().contains("Address already in use");
        proxy.wait_until("the log says why it does not listen", PATIENCE, is_said).unwrap();
        drop(taken);
        proxy.wait_until("it listens", PATIENCE, |proxy| proxy.get(HEALTH, "/livez").is_ok()).unwrap();
        assert_eq!(proxy.get(HEALTH, "/healthz").unwrap().status, 200);
        assert!(stage.events("FailedToStartProxierHealthcheck").is_empty());
    });
}

//! The handle on the proxy, tried on stand-ins: what it learns from a process, its log and its metrics page.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use portolan_testkit::netns::{Namespace, NetnsError, Portolan, isolated};

const PATIENCE: Duration = Duration::from_secs(60);

fn stand_in(node: &Namespace, script: &str) -> Portolan {
    Portolan::start_binary(Path::new("/bin/sh"), node, ["-c", script]).unwrap()
}

fn node() -> Namespace {
    let node = Namespace::create("node").unwrap();
    node.ip("link set lo up").unwrap();
    node
}

/// Serves these pages one after the other, the last one for ever.
fn serve_metrics(node: &Namespace, pages: &'static [&'static str]) {
    let listener = node.run(|| TcpListener::bind("127.0.0.1:10249")).unwrap().unwrap();
    std::thread::spawn(move || {
        for (request, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            let page = pages[request.min(pages.len() - 1)];
            stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{page}").as_bytes()).unwrap();
        }
    });
}

const SYNCED_V4: &str =
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1.79523338e+09\n";
const SYNCED_BOTH: &str = "# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge
kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1.79523338e+09
kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"} 1.79523339e+09
";

#[test]
fn synced_means_both_families() {
    isolated(|| {
        let node = node();
        serve_metrics(&node, &["", SYNCED_V4, SYNCED_BOTH]);
        let mut proxy = stand_in(&node, "exec sleep 1000");

        proxy.wait_synced(PATIENCE).unwrap();

        let series = "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"}";
        assert_eq!(proxy.metric(series).unwrap(), Some(1_795_233_390.0));
        assert_eq!(proxy.metric("kubeproxy_sync_proxy_rules_last").unwrap(), None);
    });
}

#[test]
fn one_synced_family_is_not_enough() {
    isolated(|| {
        let node = node();
        serve_metrics(&node, &[SYNCED_V4]);
        let mut proxy = stand_in(&node, "exec sleep 1000");

        let error = proxy.wait_synced(Duration::from_millis(100)).unwrap_err();

        assert!(matches!(error, NetnsError::Deadline { .. }), "{error}");
    });
}

#[test]
fn waiting_for_a_proxy_that_ended_shows_its_log() {
    isolated(|| {
        let mut proxy = stand_in(&node(), "echo no such mode; exit 3");

        let error = proxy.wait_synced(PATIENCE).unwrap_err();

        assert_eq!(error.to_string(), "portolan ended with exit status: 3; its log:\nno such mode\n");
    });
}

#[test]
fn killing_is_not_asking() {
    isolated(|| {
        let node = node();
        let deaf = "trap '' TERM; while :; do sleep 0.05; done";

        let status = stand_in(&node, deaf).kill().unwrap();
        assert_eq!(status.to_string(), "signal: 9 (SIGKILL)");

        let status = stand_in(&node, "exec sleep 1000").terminate(PATIENCE).unwrap();
        assert_eq!(status.to_string(), "signal: 15 (SIGTERM)");
    });
}

#[test]
fn a_missing_binary_says_how_to_get_one() {
    isolated(|| {
        let none: [&str; 0] = [];

        let error = Portolan::start_binary(Path::new("/nowhere/portolan"), &node(), none).unwrap_err();

        let text = error.to_string();
        assert!(text.contains("/nowhere/portolan") && text.contains("cargo build -p portolan"), "{text}");
    });
}

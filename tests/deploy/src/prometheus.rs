//! The real binary under a real Prometheus: what rules and dashboard ask for is there.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use portolan_testkit::netns::{Namespace, Program, RunningProgram, http_get, isolated, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dashboard;
use crate::files::{deployed, list, string, text};
use crate::node::{METRICS, Node, PATIENCE};
use crate::queries;

/// Where Prometheus listens, in the node's namespace.
const ADDRESS: &str = "127.0.0.1:9090";

/// Complaints of promtool about names and texts that are kube-proxy's, by metric. Dashboards know them so.
const INHERITED: [&str; 2] =
    ["kubeproxy_sync_proxy_rules_no_local_endpoints_total", "kubeproxy_sync_proxy_rules_iptables_total"];

/// Panels without anything to show while all is well.
const EMPTY_WHEN_WELL: [&str; 2] = ["Failures and drift", "Source errors"];

/// A Prometheus that scrapes the proxy of a node every second.
struct Prometheus {
    namespace: Namespace,
    program: RunningProgram,
    #[expect(dead_code, reason = "the folder lives as long as it is held")]
    folder: TempDir,
}

impl Prometheus {
    fn start(namespace: &Namespace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configuration = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [deployed("monitoring/rules.yaml")],
            "scrape_configs": [{"job_name": "kube-proxy", "static_configs": [{"targets": [METRICS]}]}],
        });
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, configuration.to_string()).unwrap();
        let program = Program::new("prometheus").args([
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address={ADDRESS}"),
        ]);
        let program = namespace.spawn_program(&program).unwrap();
        Self { namespace: namespace.clone(), program, folder }
    }

    /// What a page of its API says under `data`, or why it is none.
    fn get(&self, path: &str) -> Result<Value, String> {
        let address: SocketAddr = ADDRESS.parse().unwrap();
        let reply = http_get(&self.namespace, address, path).map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&reply.body).map_err(|error| error.to_string())?;
        if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(answer.to_string()) }
    }

    /// The series that a query yields now.
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        self.get(&format!("/api/v1/query?{query}")).map(|data| list(&data, "/result").to_vec())
    }

    fn wait_for(&mut self, expression: &str) {
        let waited = wait_until(expression, PATIENCE, || {
            if let Some(status) = self.program.exited().unwrap() {
                panic!("Prometheus ended with {status}: {}", self.program.log().unwrap());
            }
            self.query(expression).is_ok_and(|series| !series.is_empty())
        });
        waited.unwrap();
    }
}

/// A query as Grafana sends it when all clusters and nodes are chosen.
fn chosen(expression: &str) -> String {
    let all =
        expression.replace("$cluster", ".*").replace("$instance", ".*").replace("$__rate_interval", "30s");
    assert!(!all.contains('$'), "an unknown variable is left in {all}");
    all
}

/// A proxy that has had something to do, watched for long enough to have rates.
fn watched() -> (Node, Prometheus) {
    let mut node = Node::start(&[]);
    node.wait_ready();
    let mut prometheus = Prometheus::start(&node.namespace);
    prometheus.wait_for("up{job=\"kube-proxy\"} == 1");
    for (changes, endpoints) in [(1, 2), (2, 3), (3, 1), (4, 2)] {
        node.scale_to(endpoints);
        for path in ["/healthz", "/livez", "/readyz"] {
            http_get(&node.namespace, "127.0.0.1:10256".parse().unwrap(), path).unwrap();
        }
        // Each is seen by its own scrape, so that there are rates.
        prometheus
            .wait_for(&format!("sum(kubeproxy_network_programming_duration_seconds_count) >= {changes}"));
    }
    (node, prometheus)
}

#[test]
fn every_query_of_the_dashboard_and_every_rule_finds_what_it_asks_for() {
    isolated(|| {
        let (_node, prometheus) = watched();
        let mut empty = BTreeSet::new();
        for query in dashboard::queries() {
            let expression = chosen(&query.expression);
            let series =
                prometheus.query(&expression).unwrap_or_else(|error| panic!("{}: {error}", query.panel));
            if series.is_empty() {
                empty.insert((query.panel, expression));
            }
        }
        let unexpected: Vec<_> = empty.iter().filter(|(panel, query)| !may_be_empty(panel, query)).collect();
        assert!(unexpected.is_empty(), "nothing to show in {unexpected:#?}");
        assert_rules_are_evaluated(&prometheus);
        assert_checks_of_the_guide_find_what_they_ask_for(&prometheus);
    });
}

/// The checks over all nodes in the migration guide, which are to be as its comments say.
fn assert_checks_of_the_guide_find_what_they_ask_for(prometheus: &Prometheus) {
    let guide = text("docs/migrating-from-kube-proxy.md");
    let (_, checks) = guide.split_once("\nOver all nodes:\n\n").unwrap();
    let checks: Vec<_> = checks.lines().take_while(|line| line.starts_with("    ")).collect();
    assert!(checks.iter().any(|check| check.contains("min(portolan_rules_programmed)")), "{checks:?}");
    for check in checks {
        let (query, expected) = check.split_once('#').unwrap();
        let series = prometheus.query(query.trim()).unwrap_or_else(|error| panic!("{query}: {error}"));
        let [one] = &series[..] else { panic!("{query}: {series:?}") };
        // A number is the value of each good node; lag may be that of a change that has just come in.
        let expected = expected.trim().split(':').next().unwrap();
        if expected.parse::<u32>().is_ok() {
            assert_eq!(string(one, "/value/1"), expected, "{query}");
        }
    }
}

/// Whether a panel is empty by right on a node where nothing went wrong.
fn may_be_empty(panel: &str, query: &str) -> bool {
    let refusals = ["3..", "4..", "5.."].iter().any(|code| query.contains(&format!("code=~\"{code}\"")));
    EMPTY_WHEN_WELL.contains(&panel) || refusals
}

/// What the kube-proxy dashboard and alert of the kubernetes-mixin ask, which many clusters have already. Without
/// goroutines, which a process in Rust has none of.
const OF_THE_MIXIN: [&str; 14] = [
    "up{job=\"kube-proxy\"} == 1",
    "sum(up{cluster=\"\", job=\"kube-proxy\"})",
    "sum(rate(kubeproxy_sync_proxy_rules_duration_seconds_count{job=\"kube-proxy\", instance=~\"$instance\"}[$__rate_interval]))",
    "histogram_quantile(0.99, rate(kubeproxy_sync_proxy_rules_duration_seconds_bucket{job=\"kube-proxy\"}[$__rate_interval]))",
    "sum(rate(kubeproxy_network_programming_duration_seconds_count{job=\"kube-proxy\"}[$__rate_interval]))",
    "histogram_quantile(0.99, sum(rate(kubeproxy_network_programming_duration_seconds_bucket{job=\"kube-proxy\"}[$__rate_interval])) by (instance, le))",
    "sum(rate(rest_client_requests_total{job=\"kube-proxy\", code=~\"2..\"}[$__rate_interval]))",
    "histogram_quantile(0.99, sum(rate(rest_client_request_duration_seconds_bucket{job=\"kube-proxy\", verb=\"POST\"}[$__rate_interval])) by (verb, le))",
    "histogram_quantile(0.99, sum(rate(rest_client_request_duration_seconds_bucket{job=\"kube-proxy\", verb=\"GET\"}[$__rate_interval])) by (verb, le))",
    "process_resident_memory_bytes{job=\"kube-proxy\"}",
    "rate(process_cpu_seconds_total{job=\"kube-proxy\"}[$__rate_interval])",
    "sum(rate(rest_client_requests_total{job=\"kube-proxy\", method=\"GET\"}[$__rate_interval])) by (code, host)",
    "process_start_time_seconds{job=\"kube-proxy\"}",
    "kubernetes_build_info{job=\"kube-proxy\", git_version=~\"v1.*\"}",
];

#[test]
fn dashboards_and_alerts_made_for_kube_proxy_find_their_metrics() {
    isolated(|| {
        let (_node, prometheus) = watched();
        for query in OF_THE_MIXIN {
            let series = prometheus.query(&chosen(query)).unwrap_or_else(|error| panic!("{query}: {error}"));
            assert!(!series.is_empty(), "nothing answers to {query}");
        }
    });
}

fn assert_rules_are_evaluated(prometheus: &Prometheus) {
    let groups = prometheus.get("/api/v1/rules").unwrap();
    let rules: Vec<&Value> =
        list(&groups, "/groups").iter().flat_map(|group| list(group, "/rules")).collect();
    assert_eq!(rules.len(), crate::rules::rules().len());
    for rule in rules {
        assert_eq!(string(rule, "/health"), "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
        if rule["type"] == "recording" {
            let name = string(rule, "/name");
            assert!(!prometheus.query(name).unwrap().is_empty(), "{name} recorded nothing");
        }
    }
}

#[test]
fn promtool_has_nothing_to_say_of_our_own_metrics() {
    isolated(|| {
        let (node, _prometheus) = watched();
        let check = Program::new("promtool").args(["check", "metrics"]).input(node.metrics());
        // promtool ends with 3 when it has something to say, and says it on standard error.
        let complaints = check.run().map_or_else(|error| error.to_string(), |_| String::new());
        let ours: Vec<_> = complaints
            .lines()
            .filter(|line| line.starts_with("kubeproxy_") || line.starts_with("portolan_"))
            .filter(|line| !INHERITED.iter().any(|name| line.starts_with(name)))
            .collect();
        assert!(ours.is_empty(), "{complaints}");
        assert!(!complaints.contains("error while linting"), "{complaints}");
    });
}

#[test]
fn every_metric_of_the_page_is_documented() {
    isolated(|| {
        let (node, _prometheus) = watched();
        let page = node.metrics();
        let names: BTreeSet<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert!(names.len() > 30, "{names:?}");
        for name in names {
            queries::assert_known("the page of metrics", &format!("{name}{{}}"));
        }
    });
}

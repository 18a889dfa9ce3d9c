//! What is told to the cluster as Events: kube-proxy's own, with its words, and those about what
//! kube-proxy does not do.

use portolan_health::service_health::OpenFailure;
use portolan_source::{Regarding, Report, ReportKind};

use crate::mode::Fallback;

/// kube-proxy's action for all that happens at the start.
const START: &str = "StartKubeProxy";
/// Action of events about bringing rules up to date.
const SYNC: &str = "SyncProxyRules";

fn about_node(kind: ReportKind, reason: &'static str, action: &'static str, note: String) -> Report {
    Report { kind, reason, action, regarding: Regarding::Node, note }
}

/// The proxy runs.
pub(crate) fn starting() -> Report {
    about_node(ReportKind::Normal, "Starting", START, String::new())
}

/// Another mode than the preferred one runs.
pub(crate) fn fell_back(Fallback { from, to, missing }: &Fallback) -> Report {
    let note = format!("{to} mode runs in place of {from}: {missing}");
    about_node(ReportKind::Warning, "ProxyModeFallback", START, note)
}

/// No mode can run, and the proxy ends.
pub(crate) fn no_mode(problem: &str) -> Report {
    about_node(ReportKind::Warning, "NoUsableProxyMode", START, problem.to_owned())
}

/// The health server cannot listen, and the proxy ends.
pub(crate) fn health_server_failed(problem: &str) -> Report {
    about_node(ReportKind::Warning, "FailedToStartProxierHealthcheck", START, problem.to_owned())
}

/// The metrics server cannot listen, and the proxy ends.
pub(crate) fn metrics_server_failed(problem: &str) -> Report {
    about_node(ReportKind::Warning, "FailedToStartMetricServer", START, problem.to_owned())
}

/// A Service's health check port cannot be opened.
pub(crate) fn service_port_failed(node_name: &str, failure: &OpenFailure) -> Report {
    let OpenFailure { service, port, error } = failure;
    let note = format!("node {node_name} failed to start healthcheck \"{service}\" on port {port}: {error}");
    Report {
        kind: ReportKind::Warning,
        reason: "FailedToStartServiceHealthcheck",
        action: "Listen",
        regarding: Regarding::Service(service.clone()),
        note,
    }
}

/// Rules cannot be brought up to date, for longer than a busy moment explains.
pub(crate) fn sync_failing(family: &str, problem: &str) -> Report {
    let note = format!("{family} rules cannot be brought up to date: {problem}");
    about_node(ReportKind::Warning, "ProxyRulesSyncFailing", SYNC, note)
}

/// They can again.
pub(crate) fn sync_recovered(family: &str) -> Report {
    let note = format!("{family} rules are up to date again");
    about_node(ReportKind::Normal, "ProxyRulesSyncRecovered", SYNC, note)
}

/// Another proxy writes rules on this node.
pub(crate) fn foreign_rules(mode: &str, family: &str) -> Report {
    let note = format!(
        "another proxy writes {family} rules of kube-proxy's {mode} mode on this node beside Portolan; only one of \
         them should run here"
    );
    about_node(ReportKind::Warning, "ForeignProxyRules", SYNC, note)
}

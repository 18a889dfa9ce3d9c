//! Recording and alerting rules, judged by promtool.

use std::collections::BTreeSet;
use std::path::Path;

use portolan_testkit::netns::Program;
use serde_json::Value;

use crate::files::{deployed, document, list, repository, string, text};

const RULES: &str = "deploy/monitoring/rules.yaml";
const TESTS: &str = "deploy/monitoring/rules-test.yaml";
const FOR_THE_OPERATOR: &str = "deploy/monitoring/prometheus-rule.yaml";

/// All rules of the file.
pub(crate) fn rules() -> Vec<Value> {
    let rules = document(RULES);
    list(&rules, "/groups").iter().flat_map(|group| list(group, "/rules").to_vec()).collect()
}

fn alerts() -> BTreeSet<String> {
    rules().iter().filter_map(|rule| rule["alert"].as_str().map(str::to_owned)).collect()
}

fn promtool(arguments: [&str; 2], file: &Path) -> Result<String, String> {
    let program = Program::new("promtool").args(arguments).args([file]);
    program.run().map_err(|error| error.to_string())
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    promtool(["check", "rules"], &deployed("monitoring/rules.yaml")).unwrap();
}

#[test]
fn every_alert_does_what_its_unit_tests_say() {
    promtool(["test", "rules"], &deployed("monitoring/rules-test.yaml")).unwrap();
}

#[test]
fn every_alert_is_shown_to_fire_and_to_stay_silent() {
    let tests = document(TESTS);
    let cases: Vec<&Value> = list(&tests, "/tests")
        .iter()
        .filter_map(|test| test["alert_rule_test"].as_array())
        .flatten()
        .collect();
    let those = |fires: bool| -> BTreeSet<String> {
        let chosen = cases.iter().filter(|case| list(case, "/exp_alerts").is_empty() != fires);
        chosen.map(|case| string(case, "/alertname").to_owned()).collect()
    };
    assert_eq!(those(true), alerts());
    assert_eq!(those(false), alerts());
}

#[test]
fn every_alert_has_a_severity_and_a_section_of_the_runbook() {
    let readme = text("deploy/monitoring/README.md");
    let sections =
        readme.split_once("\n# Alerts\n").unwrap().1.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(sections.map(str::to_owned).collect::<BTreeSet<_>>(), alerts());
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = string(rule, "/alert");
        assert!(["info", "warning", "critical"].contains(&string(rule, "/labels/severity")), "{name}");
        let anchor = format!("deploy/monitoring/README.md#{}", name.to_lowercase());
        assert_eq!(string(rule, "/annotations/runbook"), anchor);
    }
}

/// `BLESS=1` writes the Operator's object anew.
#[test]
fn the_operators_object_holds_the_same_rules() {
    let (_, groups) =
        text(RULES).split_once("\ngroups:\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    let object = format!(
        "# rules.yaml for the Prometheus Operator; `BLESS=1 cargo test -p portolan-tests-deploy` writes it.\n\
         apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: portolan\n  \
         namespace: kube-system\n  labels:\n    k8s-app: kube-proxy\nspec:\n  groups:\n{}",
        groups.lines().map(indented).collect::<String>()
    );
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(repository().join(FOR_THE_OPERATOR), &object).unwrap();
    }
    assert_eq!(text(FOR_THE_OPERATOR), object);
    assert_eq!(document(FOR_THE_OPERATOR)["spec"]["groups"], document(RULES)["groups"]);
}

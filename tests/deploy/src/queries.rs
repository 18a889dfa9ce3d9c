//! Queries in PromQL, and the metrics that they name.
//!
//! Our files write every selector with braces, if only to name the job, so a metric is an identifier before a
//! brace. That needs no parser, and Prometheus itself parses them in `prometheus`.

use std::collections::BTreeSet;

use crate::files::text;

/// The metrics that a query names.
pub(crate) fn metrics(query: &str) -> BTreeSet<String> {
    let identifier = |byte: char| byte.is_ascii_alphanumeric() || byte == '_' || byte == ':';
    let ends = query.match_indices('{').map(|(end, _)| &query[..end]);
    let names = ends.map(|before| &before[before.trim_end_matches(identifier).len()..]);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The metric that a histogram's series belongs to, or the name itself.
pub(crate) fn family(series: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix)).unwrap_or(series)
}

/// Asserts that each metric of a query exists: Prometheus, our rules, or the page of metrics.
pub(crate) fn assert_known(place: &str, query: &str) {
    let reference = text("docs/metrics.md");
    let rules = crate::rules::rules();
    let recorded: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["record"].as_str()).collect();
    for name in metrics(query) {
        let documented = reference.contains(&format!("\n| `{name}` |"))
            || (family(&name) != name
                && reference.contains(&format!("\n| `{}` | histogram |", family(&name))));
        let known = name == "up" || recorded.contains(name.as_str()) || documented;
        assert!(known, "{place} asks for {name}, which docs/metrics.md does not have");
    }
}

#[test]
fn the_metrics_of_a_query_are_found() {
    let query = "sum by (le) (rate(a_bucket{job=\"x\"}[5m])) / on (a, b) b:c:sum{} + up{x=~\"y\"}";

    let found: Vec<_> = metrics(query).into_iter().collect();

    assert_eq!(found, ["a_bucket", "b:c:sum", "up"]);
    assert_eq!(family("a_bucket"), "a");
}

#[test]
fn every_metric_of_the_rules_is_documented() {
    for rule in crate::rules::rules() {
        let (name, query) =
            (rule["alert"].as_str().or(rule["record"].as_str()).unwrap(), rule["expr"].as_str().unwrap());
        assert_known(name, query);
    }
}

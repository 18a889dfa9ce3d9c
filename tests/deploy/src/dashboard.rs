//! The dashboard: its data source, and the metrics that it asks for.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files::{list, string, text};
use crate::queries;

/// One query of a panel.
#[derive(Debug)]
pub(crate) struct Query {
    /// The panel's title.
    pub(crate) panel: String,
    /// PromQL with the dashboard's variables in it.
    pub(crate) expression: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&text("deploy/monitoring/dashboard.json")).unwrap()
}

/// All queries of all panels.
pub(crate) fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let panels = list(&dashboard, "/panels").iter().filter(|panel| panel["type"] != "row");
    let queries = panels.flat_map(|panel| {
        let query = |target: &Value| Query {
            panel: string(panel, "/title").to_owned(),
            expression: string(target, "/expr").to_owned(),
        };
        list(panel, "/targets").iter().map(query).collect::<Vec<_>>()
    });
    queries.collect()
}

#[test]
fn panels_have_unique_ids_and_ask_the_selected_data_source() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard, "/panels") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] != "row" {
            let title = string(panel, "/title");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(!list(panel, "/targets").is_empty(), "{title}");
        }
    }
}

#[test]
fn every_query_selects_the_chosen_clusters_and_nodes() {
    for query in queries() {
        let selectors = queries::metrics(&query.expression).len();
        let chosen = "{job=\"kube-proxy\", cluster=~\"$cluster\", instance=~\"$instance\"";
        assert!(selectors > 0 && query.expression.matches(chosen).count() >= selectors, "{query:?}");
    }
}

#[test]
fn every_metric_of_the_dashboard_is_documented() {
    for query in queries() {
        queries::assert_known(&query.panel, &query.expression);
    }
}

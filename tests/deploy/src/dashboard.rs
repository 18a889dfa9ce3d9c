//! The dashboard's structure, and the metrics that it asks for.

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

fn cells(panel: &Value) -> impl Iterator<Item = (u64, u64)> {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
    (x..x + w).flat_map(move |column| (y..y + h).map(move |line| (column, line)))
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "/panels") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for cell in cells(panel) {
            assert!(cell.0 < 24, "{} is too wide", panel["title"]);
            assert!(taken.insert(cell), "{} covers another", panel["title"]);
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_asks_the_chosen_source() {
    let dashboard = dashboard();
    for panel in list(&dashboard, "/panels").iter().filter(|panel| panel["type"] != "row") {
        let title = string(panel, "/title");
        assert!(string(panel, "/description").ends_with('.'), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(!list(panel, "/targets").is_empty(), "{title}");
    }
}

#[test]
fn every_query_keeps_to_the_chosen_clusters_and_nodes() {
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

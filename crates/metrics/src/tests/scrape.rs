//! Reads what a scrape shows.

use std::collections::{BTreeMap, BTreeSet};

/// What a scrape shows of one metric.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) kind: String,
    pub(super) help: String,
    /// Names of labels, without the `le` of buckets.
    pub(super) labels: BTreeSet<String>,
    /// Finite bounds of buckets.
    pub(super) bounds: BTreeSet<String>,
}

/// Metrics by name, from Prometheus' text format.
pub(super) fn shapes(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::<String, Shape>::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            shapes.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            shapes.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let Some(name) = ["_bucket", ""].iter().find_map(|end| name.strip_suffix(end)) else {
                continue;
            };
            let Some(shape) = shapes.get_mut(name) else { continue };
            for label in labels.trim_end_matches("\"}").split("\",").filter(|label| !label.is_empty()) {
                match label.split_once("=\"").unwrap() {
                    ("le", "+Inf") => {}
                    ("le", bound) => drop(shape.bounds.insert(bound.to_owned())),
                    (label, _) => drop(shape.labels.insert(label.to_owned())),
                }
            }
        }
    }
    shapes
}

//! Keeps the list of metrics in `docs/metrics.md` equal to the code.

use std::fmt::Write as _;
use std::fs;

use super::*;
use crate::tests::scrape::Shape;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
const BEGIN: &str = "<!-- metrics: begin -->\n";
const END: &str = "<!-- metrics: end -->\n";

/// The bounds of a histogram, in words.
fn buckets(bounds: &BTreeSet<String>) -> String {
    let mut bounds: Vec<f64> = bounds.iter().map(|bound| bound.parse().unwrap()).collect();
    bounds.sort_by(f64::total_cmp);
    match &bounds[..] {
        [] => String::new(),
        [first, .., last] => format!("{} from {first} to {last}", bounds.len()),
        [only] => format!("1 at {only}"),
    }
}

fn table() -> String {
    let mut table =
        String::from("| metric | type | labels | buckets | what it tells |\n|---|---|---|---|---|\n");
    for (name, Shape { kind, labels, help, bounds }) in shapes(&observed().render().unwrap()) {
        let help = help.split_once("] ").map_or(help.as_str(), |(_, help)| help);
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        writeln!(table, "| `{name}` | {kind} | {labels} | {} | {help} |", buckets(&bounds)).unwrap();
    }
    table
}

#[test]
fn the_documentation_lists_every_metric_as_it_is() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the list begins somewhere");
    let (listed, after) = rest.split_once(END).expect("the list ends somewhere");
    let table = table();
    if std::env::var_os("BLESS").is_some() {
        fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(listed, table, "run this test with BLESS=1 to rewrite the list");
}

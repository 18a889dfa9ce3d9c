use std::path::{Path, PathBuf};

use super::*;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// A run with invented figures, some above their targets.
pub(super) fn sample() -> Report {
    Report::read_json(&file("report.json")).unwrap()
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    sample().write_json(&path).unwrap();
    assert_eq!(Report::read_json(&path).unwrap(), sample());
}

#[test]
fn a_file_that_is_no_report_is_named_in_the_error() {
    let error = Report::read_json(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).unwrap_err();
    assert!(error.to_string().ends_with("Cargo.toml is no report"), "{error}");
}

#[test]
fn the_table_has_one_line_for_both_views_of_a_figure_and_judges_them_together() {
    let table = sample().table();
    let line = |words: &[&str]| {
        let split = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(split.filter(|line| line == words).count(), 1, "{words:?} in\n{table}");
    };
    line(&["cold-10k", "10000", "20000", "once", "312", "ms", "≤", "500", "ms", "yes"]);
    line(&["10000", "20000", "p50", "84.0", "µs", "71.0", "µs", "84.5", "%", "≤", "200", "µs", "yes"]);
    line(&["50000", "100000", "p99", "1.24", "ms", "1.10", "ms", "88.7", "%", "≤", "1.00", "ms", "NO"]);
    line(&["churn", "10000", "20000", "CPU", "18.3", "%", "≤", "25.0", "%", "yes"]);
    line(&["10", "20", "peak", "12.0", "MB"]);
    assert!(table.starts_with("Portolan v1.36.2+portolan.0.1.0, Linux 6.18.5, 2 CPUs (AMD EPYC), 8.59 GB"));
}

#[test]
fn a_scenario_is_named_once_however_its_rows_are_mixed_with_others() {
    let mut report = sample();
    report.rows.sort_by(|one, other| one.measure.cmp(&other.measure));
    let table = report.table();
    assert_eq!(table.matches("step").count(), 1, "{table}");
    assert_eq!(table.matches("memory").count(), 2, "the machine's and the scenario's in\n{table}");
}

#[test]
fn a_figure_that_was_taken_twice_is_shown_twice() {
    let mut report = sample();
    report.rows.push(report.rows[0].clone());
    assert_eq!(report.table().matches("312 ms").count(), 2);
}

#[test]
fn every_line_of_the_markdown_table_has_as_many_cells() {
    let markdown = sample().markdown();
    let lines: Vec<_> = markdown.lines().skip(2).collect();
    assert!(lines.len() > sample().rows.len() / 2, "{markdown}");
    for line in &lines {
        assert_eq!(line.matches('|').count(), 10, "{line}");
    }
}

#[test]
fn a_comparison_begins_with_what_became_worst_and_ends_with_what_only_one_has() {
    let (before, mut after) = (sample(), sample());
    after.rows[0].value *= 2.0;
    after.rows[1].value /= 2.0;
    after.rows[2].scenario = "stride".to_owned();
    let restart = after.rows.iter_mut().find(|row| row.scenario == "restart").unwrap();
    restart.value = 3.0;
    let text = before.compare(&after);
    let firsts: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(firsts[..5], ["before:", "after:", "ratio", "∞", "2.00"]);
    assert_eq!(firsts[firsts.len() - 3..], ["0.50", "gone", "new"]);
    assert_eq!(firsts.iter().filter(|first| **first == "1.00").count(), before.rows.len() - 4);
}

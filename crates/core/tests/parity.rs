//! `docs/parity-evidence.md` and `docs/robustness.md` name the tests that verify a behaviour. These tests must exist.

use std::fs;
use std::path::PathBuf;

fn docs() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
}

/// The links in a text, as name and address.
fn links(text: &str) -> Vec<(&str, &str)> {
    text.split("](")
        .collect::<Vec<_>>()
        .windows(2)
        .filter_map(|two| Some((two[0].rsplit_once('[')?.1, two[1].split_once(')')?.0)))
        .collect()
}

/// Whether the file holds a test of this name, or a scenario of this group and name.
fn holds(source: &str, name: &str) -> bool {
    match name.split_once("::") {
        None => {
            // Its attributes stand right above it, after a blank line.
            let function = format!("fn {name}(");
            let above = source.split_once(&function).and_then(|(before, _)| before.rsplit("\n\n").next());
            above.is_some_and(|attributes| attributes.contains("test]") || attributes.contains("::test("))
                || ["mode: Mode)", "variant: Variant)"]
                    .iter()
                    .any(|by| source.contains(&(function.clone() + by)))
                    && is_made_for_each(source, name)
        }
        Some((group, scenario)) => {
            let opening = format!(" {group} {{\n");
            let bodies = source.split(&opening).skip(1).filter_map(|rest| rest.split_once('}'));
            bodies.flat_map(|(names, _)| names.split_whitespace()).any(|name| name == scenario)
        }
    }
}

/// Whether a macro makes a test of this function for each mode, or for each kind of iptables.
fn is_made_for_each(source: &str, name: &str) -> bool {
    [("in_each_mode!(", ')'), ("with_both_kinds! {", '}')].into_iter().any(|(opening, closing)| {
        let lists = source.split(opening).skip(1).filter_map(|rest| rest.split_once(closing));
        let mut listed = lists.flat_map(|(names, _)| names.split([',', ' ', '\n']));
        listed.any(|listed| listed == name)
    })
}

/// What is wrong with a row of the evidence.
fn faults(row: &str) -> Vec<String> {
    let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [behaviour, status, tests] = cells[..] else { return vec![format!("{row}: {} cells", cells.len())] };
    let mut faults = Vec::new();
    let (word, reason) = status.split_once(": ").unwrap_or((status, ""));
    let needs_tests = match word {
        "holds" if reason.is_empty() => true,
        "differs" if !reason.is_empty() => true,
        _ => {
            faults.push(format!("{behaviour}: what does {status:?} mean?"));
            false
        }
    };
    if needs_tests && links(tests).is_empty() {
        faults.push(format!("{behaviour}: no test is named"));
    }
    faults.extend(missing(behaviour, tests));
    faults
}

/// The tests that do not exist among those that a row names.
fn missing(row: &str, tests: &str) -> Vec<String> {
    let exists =
        |name: &str, path: &str| holds(&fs::read_to_string(docs().join(path)).unwrap_or_default(), name);
    let named = links(tests).into_iter();
    named
        .filter(|(name, path)| !exists(name, path))
        .map(|(name, path)| format!("{row}: {path} has no {name}"))
        .collect()
}

#[test]
fn every_test_of_the_parity_evidence_exists() {
    let page = fs::read_to_string(docs().join("parity-evidence.md")).unwrap();
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| kube-proxy |");
    let rows: Vec<_> = page.lines().filter(is_row).collect();
    assert!(rows.len() > 100, "{} rows were found", rows.len());
    let faults: Vec<_> = rows.into_iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    for (name, path) in links(&page) {
        assert!(docs().join(path).exists(), "{name} leads to {path}, which does not exist");
    }
}

#[test]
fn every_test_of_the_robustness_page_exists() {
    let page = fs::read_to_string(docs().join("robustness.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| situation |"));
    let mut faults = Vec::new();
    for row in rows {
        let (situation, tests) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        if links(tests).is_empty() {
            faults.push(format!("{situation}: no test is named"));
        }
        faults.extend(missing(situation, tests));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn rows_without_an_existing_test_are_found() {
    let here = "../crates/core/tests/parity.rs";
    let rows = [
        ("| a | holds | [rows_without_an_existing_test_are_found](PATH) |", 0),
        ("| a | holds | [rows_without](PATH) |", 1),
        ("| a | holds | [docs](../crates/core/tests/no.rs) |", 1),
        ("| a | holds | [docs](PATH) |", 1),
        ("| a | holds | – |", 1),
        ("| a | differs: because | – |", 1),
        ("| a | differs | – |", 1),
        ("| a | later: some day | – |", 1),
        ("| a | untested: no kernel can | – |", 1),
        ("| a | holds |", 1),
        ("| a | holds | [group::scenario](PATH) |", 1),
    ];
    for (row, count) in rows {
        assert_eq!(faults(&row.replace("PATH", here)).len(), count, "{row}");
    }
    assert!(holds("in_each_mode!(\n    b,\n    a,\n);\n\nfn a(mode: Mode) {", "a"));
    assert!(!holds("in_each_mode!(b);\n\nfn a(mode: Mode) {", "a"));
    assert!(holds("  group {\n a\n b\n }\n other {\n c\n }", "group::b"));
    assert!(!holds("  group {\n a\n b\n }\n other {\n c\n }", "group::c"));
}

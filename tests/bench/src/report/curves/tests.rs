use super::super::tests::sample;
use super::*;

/// Draws the sample and gives one of the pictures.
fn drawn(file: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    sample().write_curves(folder.path()).unwrap();
    std::fs::read_to_string(folder.path().join(file)).unwrap()
}

fn count(svg: &str, tag: &str) -> usize {
    let document = roxmltree::Document::parse(svg).unwrap();
    document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", tag))).count()
}

fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let texts = document.descendants().filter(roxmltree::Node::is_text);
    texts.filter_map(|node| node.text()).map(|text| text.trim().to_owned()).collect()
}

fn rows(scenario: &str, keep: impl Fn(&Row) -> bool) -> usize {
    sample().rows.iter().filter(|row| row.scenario == scenario && keep(row)).count()
}

#[test]
fn every_row_of_a_scenario_is_a_point() {
    assert_eq!(count(&drawn("sync-time.svg"), "circle"), rows("step", |_| true));
    assert_eq!(count(&drawn("memory.svg"), "circle"), rows("memory", |_| true));
    let setups = rows("connect", |row| !row.measure.starts_with("difference"));
    assert_eq!(count(&drawn("connect.svg"), "circle"), setups);
}

#[test]
fn axes_curves_and_targets_are_named() {
    for (file, expected) in [
        ("sync-time.svg", ["services", "50,000", "100 µs", "p99, outside", "p50, inside", "target of p99"]),
        (
            "memory.svg",
            ["endpoints", "250,000", "100 MB", "steady, 2 each", "peak, 50 each", "target of steady"],
        ),
        ("connect.svg", ["services", "10,000", "20 µs", "direct p50", "VIP p50", "time"]),
    ] {
        let texts = texts(&drawn(file));
        for text in expected {
            assert!(texts.iter().any(|known| known == text), "{text} of {file} in {texts:?}");
        }
    }
}

#[test]
fn the_same_report_is_drawn_the_same_and_small() {
    for (file, _) in sample().pictures() {
        let svg = drawn(file);
        assert_eq!(svg, drawn(file));
        assert!(svg.len() < 20_000, "{file} has {} bytes", svg.len());
    }
}

#[test]
fn pictures_without_rows_are_not_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = sample();
    report.rows.retain(|row| row.scenario == "memory");
    report.write_curves(folder.path()).unwrap();
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["memory.svg"]);
}

use super::super::tests::sample;

#[test]
fn a_picture_is_drawn_only_for_scenarios_with_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = sample();
    report.rows.retain(|row| row.scenario == "memory");
    report.write_curves(folder.path()).unwrap();
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["memory.svg"]);
    let svg = std::fs::read_to_string(folder.path().join("memory.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
}

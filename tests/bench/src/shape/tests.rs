//! The whole suite at its smallest, in the usual run of tests.

use portolan_testkit::netns::isolated;

use crate::arguments::Run;
use crate::mode::Mode;
use crate::scenario::Scale;

#[test]
fn every_scenario_keeps_its_shape() {
    isolated(|| {
        let run = Run {
            mode: Mode::default(),
            scale: Scale::Small,
            scenarios: Vec::new(),
            is_markdown: false,
            json: None,
            curves: None,
            into: None,
        };
        let findings = crate::measure(&run).unwrap();
        assert!(findings.faults.is_empty(), "{}", findings.faults.join("\n"));
        assert!(findings.rows.len() > 50, "{:#?}", findings.rows);
    });
}

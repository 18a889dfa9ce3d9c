//! The whole suite at its smallest, in the usual run of tests.

use portolan_testkit::netns::isolated;

use crate::arguments::Run;
use crate::mode::Mode;
use crate::scenario::Scale;

/// Runs these scenarios, or the usual ones if none are named; they give more than so many figures.
fn keeps_its_shape(mode: &str, scenarios: &[&str], figures: usize) {
    let run = Run {
        mode: Mode::new(mode),
        scale: Scale::Small,
        scenarios: scenarios.iter().map(|name| (*name).to_owned()).collect(),
        is_markdown: false,
        json: None,
        curves: None,
        into: None,
    };
    let findings = crate::measure(&run).unwrap();
    assert!(findings.faults.is_empty(), "{}", findings.faults.join("\n"));
    assert!(findings.rows.len() > figures, "{:#?}", findings.rows);
}

#[test]
fn every_scenario_keeps_its_shape() {
    isolated(|| keeps_its_shape("nftables", &[], 50));
}

#[test]
fn changes_and_restarts_are_seen_by_packets_where_the_kernel_tells_nothing() {
    isolated(|| keeps_its_shape("iptables", &["step", "agreement", "restart", "shape"], 30));
}

#[test]
fn a_proxy_that_relays_is_measured_like_any_other() {
    isolated(|| keeps_its_shape("userspace", &["step", "agreement", "restart", "connect", "shape"], 20));
}

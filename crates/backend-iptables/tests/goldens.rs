//! Whole rulesets: as text to read, and as the programs of the host understand them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use portolan_backend_iptables::options::Options;
use portolan_backend_iptables::render::Context;
use portolan_backend_iptables::whole::whole;
use portolan_core::event::Event;
use portolan_core::node::NodeConfig;
use portolan_core::{NodePlan, State};

#[path = "goldens/clusters.rs"]
mod clusters;
#[path = "goldens/programs.rs"]
mod programs;
#[path = "goldens/read.rs"]
mod read;
#[path = "goldens/scenarios.rs"]
mod scenarios;
#[path = "goldens/upstream.rs"]
mod upstream;

/// A state that knows these objects alone.
fn state(config: NodeConfig, events: impl IntoIterator<Item = Event>) -> State {
    let mut state = State::new(config);
    for event in portolan_testkit::objects::empty_lists().into_iter().chain(events) {
        state.handle(event);
    }
    state.prepare();
    state
}

fn context<'a>(plan: &'a NodePlan, options: &'a Options) -> Context<'a> {
    Context { family: plan.family, node: &plan.node, options, is_large: false }
}

/// All rules, as input for the programs.
fn input(cx: &Context<'_>, plan: &NodePlan) -> String {
    let mut text = Vec::new();
    let written = whole(cx, plan, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(written.lines, text.lines().count() as u64);
    assert_eq!(written.bytes, text.len() as u64);
    text
}

#[track_caller]
fn assert_golden(name: &str, actual: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    portolan_testkit::golden::assert_golden(&folder.join(name), actual);
}

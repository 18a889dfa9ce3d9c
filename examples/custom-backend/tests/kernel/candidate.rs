//! HAProxy as the kit knows it.

use std::fs;
use std::path::PathBuf;

use portolan_core::{BackendFactory, IpFamily, Protocol};
use portolan_custom_backend::{HaproxyFactory, Options};
use portolan_testkit::conformance::{Candidate, Conformance};
use portolan_testkit::netns::Program;
use portolan_testkit::scenario::{Check, Expected, Need, Scenario, Seen};

pub(crate) struct Haproxy {
    folder: PathBuf,
}

pub(crate) fn start(node: &str) -> Haproxy {
    Haproxy { folder: PathBuf::from("/run/haproxy").join(node) }
}

impl Candidate for Haproxy {
    fn factory(&self) -> Box<dyn BackendFactory> {
        let options = Options { folder: self.folder.clone(), ..Options::default() };
        Box::new(HaproxyFactory::new(options))
    }

    /// Files, local routes and listening sockets; the preamble names the folder, which no two nodes share.
    fn holds(&self, family: IpFamily) -> String {
        let conf = self.folder.join(family.to_string()).join("conf");
        let entries = fs::read_dir(conf).into_iter().flatten().flatten();
        let services = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("svc-"));
        let mut files: Vec<_> = services.map(|entry| fs::read_to_string(entry.path()).unwrap()).collect();
        files.sort();
        let option = if family == IpFamily::V4 { "-4" } else { "-6" };
        let routes = ["route", "show", "table", "local", "proto", "81"];
        let routes = Program::new("ip").args([option]).args(routes).run().unwrap();
        let sockets = Program::new("ss").args([option, "-Hltn"]).run().unwrap();
        let mut sockets: Vec<_> = sockets.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
        sockets.sort_unstable();
        sockets.dedup();
        format!("{}{routes}{}", files.concat(), sockets.join("\n"))
    }
}

/// A socket does not tell by which interface a packet came in.
const BY_ADDRESS: &str = "local pods are detected by their addresses alone";

/// Other frontends or tables take another worker.
const FORGOTTEN: &str = "affinity is forgotten at a reload";

/// HAProxy weighs two servers drawn at random, which two idle processes may do with the same outcome.
const ALIKE: &str = "the processes of two families may choose alike";

pub(crate) fn kit() -> Conformance<Haproxy> {
    Conformance::new(start)
        .serving([Protocol::Tcp])
        .listening_on_the_node()
        .unmet([
            Need::Sctp,
            Need::ClientAddress,
            Need::DropWithoutLocalEndpoints,
            Need::ServiceCidrs,
            Need::OpenExternalPorts,
            Need::OuterSource,
            Need::RangesWithoutEndpoints,
        ])
        .differing("detection::bridge_interface_detects_pods_by_bridge", BY_ADDRESS)
        .differing("detection::interface_name_prefix_detects_pods_by_interface", BY_ADDRESS)
        .differing("affinity::a_changed_time_is_followed", FORGOTTEN)
        .differing("affinity::a_policy_that_changes_takes_clients_away_from_what_it_rules_out", FORGOTTEN)
        .differing("affinity::families_do_not_influence_each_other", ALIKE)
        .cases(6)
        .adapted(adapt)
}

/// HAProxy accepts a connection before it closes it, so that nothing is ever dropped; and endpoints see the node, whichever client
/// asks.
fn adapt(_: &str, scenario: &mut Scenario) {
    for step in &mut scenario.steps {
        step.checks.retain(|check| !matches!(check, Check::Each(_, Expected::IsDropped)));
        for check in &mut step.checks {
            if let Check::Each(_, Expected::Reaches { seen, .. }) = check {
                *seen = Seen::TheNode;
            }
        }
    }
}

//! The ipvs mode, on kernels that have IPVS: what it has in the kernel, and the whole of it with real packets.

use std::time::Duration;

use portolan_tests_vm::{Kernel, Vm, test_executable};

/// How rules are written.
const PROGRAMS: [&str; 10] = [
    "ipset",
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
    "sleep",
    "cat",
    "sh",
];

/// What iptables loads for each kind of match and target.
const EXTENSIONS: &str = "/usr/lib/x86_64-linux-gnu/xtables";

/// Linux 5.10 does not load ip_vs by itself when its netlink family is asked for.
const MODULES: [&str; 3] = ["ip_vs", "dummy", "br_netfilter"];

/// Five scenarios are a minute on emulated processors that others share.
const PATIENCE: Duration = Duration::from_secs(300);

/// A machine with all that the ipvs mode asks for.
pub(crate) fn with_ipvs(vm: Vm) -> Vm {
    vm.modules(MODULES).network_programs().programs(PROGRAMS).copy(EXTENSIONS)
}

/// Runs those tests of an executable whose names have one of these in them, all if there is none, and says how
/// many passed.
fn run(kernel: Kernel, package: &str, target: &str, names: &[&str]) -> String {
    let executable = test_executable(package, target).unwrap();
    let vm = with_ipvs(Vm::new(kernel)).copy(&executable).memory(1024).patience(PATIENCE);
    let command = [executable.to_str().unwrap(), "--include-ignored", "--test-threads=1"];
    let outcome = vm.run(command.iter().chain(names)).unwrap();
    assert_eq!(outcome.code, 0, "{}\n{}", outcome.output, outcome.console);
    let summary = outcome.output.lines().rev().find(|line| line.starts_with("test result: ok. "));
    summary.unwrap_or_else(|| panic!("{}", outcome.output)).to_owned()
}

fn assert_passed(summary: &str, count: usize) {
    assert!(summary.starts_with(&format!("test result: ok. {count} passed; 0 failed;")), "{summary}");
}

#[test]
fn virtual_servers_and_the_device_are_made_read_and_removed_on_every_kernel() {
    for kernel in Kernel::ALL {
        assert_passed(&run(kernel, "portolan-ipvs", "kernel", &[]), 5);
    }
}

#[test]
fn connections_outlive_their_endpoints_and_a_change_costs_what_it_changes() {
    assert_passed(
        &run(Kernel::Bookworm, "portolan-backend-ipvs", "kernel", &["graceful::", "cost::", "settings::"]),
        6,
    );
}

/// The whole table is for `tests/vm/matrix.sh`, since it takes a quarter of an hour; these are of each kind.
#[test]
fn scenarios_hold_in_ipvs_mode() {
    let names = [
        "conformance::lifecycle::endpoints_that_change_are_followed_one_by_one",
        "conformance::unserved::refusals_end_with_the_first_endpoint_and_begin_after_the_last",
        "conformance::hairpin::a_pod_on_a_bridge_reaches_itself_by_every_address",
        "conformance::ranges::ranges_are_followed",
        "conformance::affinity::a_client_stays_with_its_endpoint_by_the_cluster_ip",
    ];
    assert_passed(&run(Kernel::Bookworm, "portolan-backend-ipvs", "kernel", &names), names.len());
}

//! The ipvs mode, on kernels that have IPVS: what it has in the kernel, how it lets connections end, and what it costs.
//! Its scenarios are in [`matrix`](super::matrix).

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

/// Emulated processors are slow, and share what there is with other tests.
const PATIENCE: Duration = Duration::from_secs(200);

/// The programs of these kinds of iptables, `nft` or `legacy`, by their own names.
pub(crate) fn iptables_of(kinds: &[&str]) -> Vec<String> {
    let of =
        |program: &str, kind: &str| ["", "-save", "-restore"].map(|end| format!("{program}-{kind}{end}"));
    kinds
        .iter()
        .flat_map(|kind| ["iptables", "ip6tables"].map(|program| of(program, kind)))
        .flatten()
        .collect()
}

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
        &run(
            Kernel::Bookworm,
            "portolan-backend-ipvs",
            "kernel",
            &["graceful::", "limits::", "cost::", "settings::"],
        ),
        9,
    );
}

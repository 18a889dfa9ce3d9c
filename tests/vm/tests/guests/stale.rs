//! Stale objects of kube-proxy's ipvs mode, on a kernel that has IPVS: the tests of `crates/backend-ipvs` that no other
//! kernel can run.

use portolan_tests_vm::{Kernel, Outcome, Vm, test_executable};

/// How the tests write what kube-proxy would have.
const PROGRAMS: [&str; 5] =
    ["ipset", "iptables-nft-restore", "iptables-nft-save", "ip6tables-nft-restore", "ip6tables-nft-save"];

/// What iptables loads for each kind of match and target.
const EXTENSIONS: &str = "/usr/lib/x86_64-linux-gnu/xtables";

/// Runs tests of the executable, those that are ignored elsewhere included.
fn run(vm: &Vm, words: &[&str]) -> Outcome {
    let executable = test_executable("portolan-backend-ipvs", "stale").unwrap();
    let vm = vm.clone().copy(&executable).network_programs().programs(PROGRAMS).copy(EXTENSIONS);
    let command = [executable.to_str().unwrap(), "--include-ignored", "--test-threads=1"];
    vm.run(command.iter().chain(words)).unwrap()
}

/// The line that says how many tests passed, if all did.
fn summary(outcome: &Outcome) -> &str {
    assert_eq!(outcome.code, 0, "{}\n{}", outcome.output, outcome.console);
    let summaries = outcome.output.lines().rev().find(|line| line.starts_with("test result: ok. "));
    summaries.unwrap_or_else(|| panic!("{}", outcome.output))
}

#[test]
fn stale_objects_of_the_ipvs_mode_are_removed_and_nothing_else() {
    let vm = Vm::new(Kernel::Bookworm).modules(["ip_vs", "ip_vs_rr", "dummy"]);
    let outcome = run(&vm, &["--skip", "looking_loads_no_modules"]);
    assert!(summary(&outcome).starts_with("test result: ok. 4 passed; 0 failed;"), "{}", outcome.output);
}

#[test]
fn looking_for_stale_objects_loads_no_modules() {
    let outcome = run(&Vm::new(Kernel::Bookworm), &["--exact", "looking_loads_no_modules"]);
    assert!(summary(&outcome).starts_with("test result: ok. 1 passed; 0 failed;"), "{}", outcome.output);
}

//! What the ipvs mode has in the kernel, on kernels that have IPVS.

use portolan_tests_vm::{Kernel, Vm, test_executable};

/// Runs all tests of an executable that no other kernel can run, and says how many passed.
fn run(kernel: Kernel, package: &str, target: &str) -> String {
    let executable = test_executable(package, target).unwrap();
    // Linux 5.10 does not load ip_vs by itself when its netlink family is asked for.
    let vm = Vm::new(kernel).modules(["ip_vs", "dummy"]).copy(&executable).network_programs();
    let command = [executable.to_str().unwrap(), "--include-ignored", "--test-threads=1"];
    let outcome = vm.run(command).unwrap();
    assert_eq!(outcome.code, 0, "{}\n{}", outcome.output, outcome.console);
    let summary = outcome.output.lines().rev().find(|line| line.starts_with("test result: ok. "));
    summary.unwrap_or_else(|| panic!("{}", outcome.output)).to_owned()
}

#[test]
fn virtual_servers_and_the_device_are_made_read_and_removed_on_every_kernel() {
    for kernel in Kernel::ALL {
        let summary = run(kernel, "portolan-ipvs", "kernel");
        assert!(summary.starts_with("test result: ok. 5 passed; 0 failed;"), "{kernel:?}: {summary}");
    }
}

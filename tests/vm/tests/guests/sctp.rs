//! A kernel that lacks SCTP, which the one at hand may as well: every other guest's has it, and [`matrix`](super::matrix)
//! requires it there.

use std::time::Duration;

use portolan_tests_vm::{Kernel, Outcome, Vm, test_executable};

use crate::ipvs::with_ipvs;

const SCENARIO: &str = "conformance::ports::each_protocol_on_one_port_has_endpoints_of_its_own";

/// Emulated processors are slow, and share what there is with other tests.
const PATIENCE: Duration = Duration::from_secs(200);

fn play(vm: Vm) -> Outcome {
    let executable = test_executable("portolan-tests-netns", "portolan_tests_netns").unwrap();
    let vm = with_ipvs(vm).without(["sctp"]).copy(&executable).memory(1024).patience(PATIENCE);
    vm.run([executable.to_str().unwrap(), "--exact", "--test-threads=1", SCENARIO]).unwrap()
}

#[test]
fn a_kernel_that_lacks_sctp_is_found_out_and_fails_where_it_is_required() {
    let left_out = play(Vm::new(Kernel::Bookworm));
    let passed = left_out.output.contains("test result: ok. 1 passed; 0 failed;");
    assert!(left_out.code == 0 && passed, "{}\n{}", left_out.output, left_out.console);
    let required = play(Vm::new(Kernel::Bookworm).variable("PORTOLAN_SCTP", "required"));
    assert_ne!(required.code, 0, "{}", required.output);
    assert!(required.output.contains("this kernel has no SCTP"), "{}", required.output);
}

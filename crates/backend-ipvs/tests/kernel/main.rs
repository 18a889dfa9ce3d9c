//! The backend in a kernel that has IPVS, with real packets: run by tests/vm.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod candidate;
mod cost;
mod graceful;
mod limits;
mod settings;

use candidate::kit;

portolan_testkit::conformance_tests!(
    #[ignore = "needs IPVS: run by tests/vm"]
    kit
);

//! The mode with the real program: the kit that all backends run, and what is HAProxy's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel/binary.rs"]
mod binary;
#[path = "kernel/candidate.rs"]
mod candidate;
#[path = "kernel/reload.rs"]
mod reload;

use candidate::kit;

portolan_testkit::conformance_tests!(kit);

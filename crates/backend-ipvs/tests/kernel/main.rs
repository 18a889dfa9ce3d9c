//! The backend in a kernel that has IPVS, with real packets: run by tests/vm.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cost;
mod graceful;
mod node;
mod scenarios;
mod settings;

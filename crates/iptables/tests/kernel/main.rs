//! Stale chains in the real kernel, in one network namespace per test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chains;
mod failure;
mod foreign;
mod nothing;
mod state;
mod traffic;

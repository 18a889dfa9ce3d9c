//! Removing leftovers from the real kernel, in one network namespace per test.
//!
//! What only some kernels have, IPVS and dummy devices, is in `tests/ipvs.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chains;
mod failure;
mod foreign;
mod nothing;
mod own_table;
mod sets;
mod state;
mod traffic;

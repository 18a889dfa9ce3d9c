//! The real kernel's connection tracking, one network namespace per test.
//!
//! Entries are made over netlink, which needs no traffic and no rule that tracks connections; that
//! entries of real packets look the same is what `packets` shows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod cost;
mod flows;
mod lifecycle;
mod matrix;
mod others;
mod packets;
mod random;
mod refusal;

//! The real kernel, one network namespace per test.
//!
//! What these tests load is laid out like the proxy's own tables, with every
//! kind of set, statement and element this crate can write.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod affinity;
mod agreement;
mod churn;
mod dump;
mod expiry;
mod layout;
mod look;
mod notes;
mod ownership;
mod ranges;
mod refusal;
mod rules;
mod size;
mod source_ranges;
mod sticky;
mod verdicts;

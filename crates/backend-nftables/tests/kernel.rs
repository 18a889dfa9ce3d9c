//! The backend and the kernel's own tables, in namespaces of each test's own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

#[path = "kernel/earlier.rs"]
mod earlier;
#[path = "kernel/others.rs"]
mod others;
#[path = "kernel/stale.rs"]
mod stale;

//! The backend over a pretended kernel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod capacity;
mod changes;
mod faults;
mod hostile;
mod kernel;
mod model;
mod node;

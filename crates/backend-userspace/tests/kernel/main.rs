//! The userspace mode with real sockets, each test in a network of its own and with no more privileges than the
//! crate's documentation asks for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod detection;
mod lifecycle;
mod limits;
mod model;
mod node;
mod privileges;
mod scenarios;
mod streams;
mod taken;
mod udp;

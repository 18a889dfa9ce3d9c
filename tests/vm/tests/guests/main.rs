//! What only a virtual machine shows: other kernels, and initial namespaces that a test may change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conntrack;
mod ipvs;
mod lacking;
mod machine;
mod matrix;
mod probes;
mod proxy;
mod sctp;
mod stale;
mod takeover;

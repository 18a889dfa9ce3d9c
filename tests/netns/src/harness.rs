//! Proves the test network: who reaches whom, what a failure looks like, what a count is worth.
//!
//! The rules here are written by hand and loaded with `nft`, so these tests say nothing about the proxy.

mod connectivity;
mod failures;
mod load;
mod processes;
mod proxy;
mod rules;
mod sctp;

//! The iptables mode: kube-proxy's rules, loaded by iptables' own programs, of which only what changed is
//! written.
//!
//! Names of chains, comments and the order of words are kube-proxy's, since people and tools know them. So a
//! node that changes between the two keeps its chains, and one way of cleaning up serves both.
//!
//! | step | module | |
//! |---|---|---|
//! | what rules a plan takes | [`render`], [`names`], [`rule`], [`comment`] | pure |
//! | what of it is there already | `compare`, `saved`, [`digest`] | from what `iptables-save` prints |
//! | what is to be changed | `edit`, `sketch`, `unit` | service port by service port |
//! | as input | `writer`, [`restore`] | streamed |
//! | loaded | `session`, [`tables`], [`programs`] | several inputs, if that is faster |
//! | guarded | [`watched`], `census` | what others change is noticed without reading the tables |
//!
//! What always holds:
//!
//! * **Nothing is remembered of rules.** A change names what a service port was; all else is read back. A
//!   rule that `iptables-save` prints is spelled differently from the one that was written, and equal to it:
//!   rules are compared by what they mean.
//! * **A change writes what changed**: the chains of that service port, and single lines of the lists that
//!   all share. New lines go to the top of a list, since their order means nothing but for the last ones.
//! * **At each moment a service address leads to its old endpoints or its new ones.** Each input is one
//!   section of one table, which becomes true at once: chains, what leads to them, and last what goes. The
//!   table filter, which refuses what nobody serves, is written before nat where refusals come, and after it
//!   where they go.
//! * **A line that is turned down costs its service port alone.** It is found, by its number or by halves,
//!   and all others are written.

pub mod backend;
mod census;
pub mod comment;
mod compare;
pub mod digest;
mod edit;
pub mod factory;
mod localnet;
pub mod metrics;
pub mod names;
mod nfacct;
pub mod options;
pub mod programs;
pub mod render;
pub mod restore;
pub mod rule;
mod saved;
mod session;
mod sketch;
pub mod tables;
mod unit;
pub mod watched;
pub mod whole;
mod writer;

pub use backend::IptablesBackend;
pub use factory::{IptablesFactory, Settings};

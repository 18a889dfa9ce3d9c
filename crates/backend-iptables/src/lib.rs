//! The iptables mode: kube-proxy's rules, written with the programs of iptables. A change writes only what changed.
//!
//! Names of chains, comments and the order of words are kube-proxy's, because people and tools know them. A node
//! that switches between the two keeps its chains, and the same cleanup serves both.
//!
//! | step | module |
//! |---|---|
//! | The rules of a plan, as values | [`render`], [`names`], [`rule`], [`comment`] |
//! | A change: the difference of the old and the new rules of a service port | `edit`, [`restore`] |
//! | A full sync: the difference to what `iptables-save` prints | `compare`, `hasher`, `saved` |
//! | Restores, and what to do when one is rejected | `apply`, [`tables`], [`programs`] |
//! | Detection of changes by other processes, mostly without reading the tables | [`watched`] |
//!
//! Invariants:
//!
//! * **No rules are kept in memory.** The change set has the service port as it was; everything else is read back.
//!   `iptables-save` spells rules differently from those that were written, so rules are compared by their meaning.
//! * **A change writes what changed**: the chains of that service port, and single rules of the lists that all
//!   service ports share. New rules go to the top of a list; their order means nothing except for the last ones.
//! * **At any time a service address has its old endpoints or its new ones.** Each input is one section of one table,
//!   which takes effect at once. Rules in filter that reject packets to a service port without endpoints are written
//!   before nat if they are new, and after it if they are deleted.
//! * **A rejected rule affects its service port only.** It is found by its line number or by bisection, and all other
//!   rules are written.

mod apply;
pub mod backend;
pub mod comment;
mod compare;
mod edit;
pub mod factory;
mod hasher;
mod nfacct;
pub mod options;
pub mod render;
pub mod restore;
pub mod rule;
pub mod stale;
pub mod tables;
pub mod watched;

pub use backend::IptablesBackend;
pub use factory::{IptablesFactory, Settings};
pub use portolan_iptables::{names, programs};

use portolan_iptables::saved;

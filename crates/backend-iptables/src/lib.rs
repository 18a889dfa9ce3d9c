//! The rules of kube-proxy's iptables mode as values: what they are called, how they are written, and when
//! two of them are the same.
//!
//! Names of chains, comments and the order of words are kube-proxy's, since people and tools know them. A
//! rule can be read back from what `iptables-save` prints, which spells it differently, and is then equal to
//! the one that was written; so chains that an earlier run or kube-proxy itself left can be recognised.
//!
//! [`render`] says what rules a plan takes, and [`restore`] writes them as the programs read them. All of it
//! is pure.

pub mod comment;
pub mod digest;
pub mod factory;
pub mod names;
pub mod options;
pub mod programs;
pub mod render;
pub mod restore;
pub mod rule;
pub mod tables;
pub mod whole;

pub use factory::{IptablesFactory, Settings};

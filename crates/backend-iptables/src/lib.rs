//! The rules of kube-proxy's iptables mode as values: what they are called, how they are written, and when
//! two of them are the same.
//!
//! Names of chains, comments and the order of words are kube-proxy's, since people and tools know them. A
//! rule can be read back from what `iptables-save` prints, which spells it differently, and is then equal to
//! the one that was written; so chains that an earlier run or kube-proxy itself left can be recognised.
//!
//! Everything here is pure; no program is started. What rules a plan takes is not decided here.

pub mod comment;
pub mod digest;
pub mod names;
pub mod options;
pub mod rule;
